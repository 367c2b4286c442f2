# SPDX-License-Identifier: Apache-2.0
"""The default length of a training."""

from collections.abc import Sequence

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Timer

__all__ = ["set_default_length"]


def set_default_length(trainer: Trainer, max_epochs: int, max_steps: int) -> None:
    """Limit a trainer that has no limit of epochs, steps or time.

    Args:
        trainer: The trainer, before it starts.
        max_epochs: Maximum number of epochs; -1 for no limit.
        max_steps: Maximum number of optimizer steps; -1 for no limit.
    """
    callbacks: Sequence[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    timed = any(isinstance(callback, Timer) for callback in callbacks)
    if trainer.max_epochs is None and trainer.max_steps == -1 and not timed:
        trainer.fit_loop.max_epochs = max_epochs
        trainer.fit_loop.epoch_loop.max_steps = max_steps
