# SPDX-License-Identifier: Apache-2.0
"""When to validate: a few times during training, and always at its end."""

import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

__all__ = ["ValidationSchedule"]


class ValidationSchedule(Callback):
    """Validate evenly through training, and once more after its last step.

    A validation sets the post-processor's thresholds and normalization, and a checkpoint is written after it. Only the
    last one determines the model's predictions; the others serve runs that are interrupted. The callback does nothing
    if ``check_val_every_n_epoch`` or ``val_check_interval`` is not Lightning's default, or a metric stops the run
    early.

    Args:
        validations: Maximum number of validations in a run before the last one.

    Raises:
        ValueError: If ``validations`` is less than 1.
    """

    def __init__(self, validations: int = 5) -> None:
        if validations < 1:
            msg = f"validations must be at least 1, got {validations}."
            raise ValueError(msg)
        self.validations = validations
        self._active = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the schedule unless the user has chosen one."""
        del pl_module
        default = trainer.check_val_every_n_epoch == 1 and trainer.val_check_interval == 1.0
        # Early stopping counts validations, and looks for their metrics after every epoch.
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        self._active = default and not any(isinstance(callback, EarlyStopping) for callback in callbacks)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Decide whether this epoch ends in a validation."""
        del pl_module
        if not self._active:
            return
        epochs = self._epochs(trainer)
        epoch = trainer.current_epoch + 1
        due = epochs is None or epoch == epochs or epoch % math.ceil(epochs / self.validations) == 0
        self._validate_this_epoch(trainer, due)

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Validate before the run ends in the middle of an epoch."""
        del args, kwargs
        if not self._active:
            return
        if 0 < trainer.max_steps <= trainer.global_step:
            trainer.should_stop = True
        if trainer.should_stop:
            self._validate_this_epoch(trainer, due=True)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the trainer's settings."""
        del pl_module
        if self._active:
            self._validate_this_epoch(trainer, due=True)

    @staticmethod
    def _epochs(trainer: Trainer) -> int | None:
        """Number of epochs that the run will have, or ``None`` if it is limited by time or not at all."""
        limits = []
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            limits.append(trainer.max_epochs)
        steps = trainer.num_training_batches / trainer.accumulate_grad_batches
        if trainer.max_steps > 0 and 0 < steps < float("inf"):
            limits.append(math.ceil(trainer.max_steps / steps))
        return min(limits, default=None)

    @staticmethod
    def _validate_this_epoch(trainer: Trainer, due: bool) -> None:
        # Lightning validates after epoch n if the interval divides n; n + 1 never does.
        trainer.check_val_every_n_epoch = 1 if due else trainer.current_epoch + 2
