# SPDX-License-Identifier: Apache-2.0
"""A line for each phase of a run: what it does, and about how long it will take."""

import logging
from time import perf_counter
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

__all__ = ["RunPhases"]

logger = logging.getLogger(__name__)


class RunPhases(Callback):
    """Log when training, statistics and thresholds, test and report begin.

    Data check, training and test have their own progress bars. The time for statistics and thresholds is estimated
    from the duration of the training steps. This callback must come before those whose work it announces.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._images = 0
        self._start = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Announce the training."""
        del pl_module
        length = f"{trainer.max_steps} steps" if trainer.max_steps > 0 else f"{trainer.max_epochs} epochs"
        _announce(trainer, f"Training: {length} on {_count(trainer, 'train')} images.")

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        """Start timing a step."""
        del args, kwargs
        self._start = perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop timing the step."""
        del trainer, pl_module, outputs, batch_idx
        self._seconds += perf_counter() - self._start
        self._images += len(batch.image)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Announce statistics and thresholds, if the validation is part of a training."""
        del pl_module
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            train, val = _count(trainer, "train"), _count(trainer, "val")
            text = f"Statistics of {train} training images, thresholds on {val} validation images"
            seconds = (train + val) * self._seconds / max(self._images, 1)
            _announce(trainer, f"{text}: about {seconds:.0f} seconds.")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Announce the test."""
        del pl_module
        _announce(trainer, f"Test: {_count(trainer, 'test')} images.")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Announce the report."""
        if getattr(pl_module, "report", False):
            _announce(trainer, "Report: pictures, curves and tables on one page.")


def _announce(trainer: Trainer, text: str) -> None:
    if trainer.is_global_zero:
        logger.info("%s", text)


def _count(trainer: Trainer, split: str) -> int:
    """Number of images in a split; 0 if it is unknown."""
    loader = getattr(trainer, f"{split}_dataloader{'' if split == 'train' else 's'}", None)
    dataset = getattr(loader[0] if isinstance(loader, list) and loader else loader, "dataset", ())
    return len(dataset)
