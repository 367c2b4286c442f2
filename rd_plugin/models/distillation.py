# SPDX-License-Identifier: Apache-2.0
"""What every reverse-distillation method does in anomalib's engine."""

from collections.abc import Sequence
from typing import Any

from anomalib import LearningType
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.utilities.types import STEP_OUTPUT

from rd_plugin.callbacks import MemoryReuse, ValidationSchedule
from rd_plugin.evaluator import DistillationEvaluator

__all__ = ["Distillation"]


class Distillation(AnomalibModule):
    """Base of the package's models: evaluation, schedule and defaults.

    A method adds its torch module as ``self.model``, its training step and its optimizers.

    Attributes:
        default_max_epochs: Length of the paper's training in epochs, taken if the user sets no limit at all; -1 for
            none.
        default_max_steps: The same in optimizer steps.
    """

    default_max_epochs: int = -1
    default_max_steps: int = -1

    @property
    def trainer(self) -> Trainer:
        """The trainer that this model is attached to."""
        return LightningModule.trainer.fget(self)  # type: ignore[attr-defined]

    @trainer.setter
    def trainer(self, trainer: Trainer | None) -> None:
        # anomalib lets a model's trainer_arguments overrule the user's, so a default must be set elsewhere; this is the
        # last moment at which a limit that was not given can be told from Lightning's own 1,000 epochs.
        LightningModule.trainer.fset(self, trainer)  # type: ignore[attr-defined]
        if trainer is None or trainer.max_epochs is not None or trainer.max_steps != -1:
            return
        if not any(isinstance(callback, Timer) for callback in trainer.callbacks):
            trainer.fit_loop.max_epochs = self.default_max_epochs
            trainer.fit_loop.epoch_loop.max_steps = self.default_max_steps

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """Trainer arguments that the method needs and the user cannot change."""
        return {"num_sanity_val_steps": 0}

    @property
    def learning_type(self) -> LearningType:
        """The models learn from normal images only."""
        return LearningType.ONE_CLASS

    def configure_callbacks(self) -> Sequence[Callback]:
        """Return anomalib's components that are callbacks, and the package's own."""
        callbacks = super().configure_callbacks()
        return [*(callbacks if isinstance(callbacks, Sequence) else [callbacks]), ValidationSchedule(), MemoryReuse()]

    @staticmethod
    def configure_evaluator() -> Evaluator:
        """Return the evaluator with the papers' metrics."""
        return DistillationEvaluator()

    def on_fit_start(self) -> None:
        """Read the teacher's weights before anything else is done, so that a wrong file stops the run at once."""
        self.model.teacher.load_pretrained()

    def validation_step(self, batch: Batch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:  # noqa: ANN401
        """Add predictions to a batch; the post-processor sets its thresholds by them.

        Args:
            batch: Images and, if there are any, labels and masks.
            *args: Not used.
            **kwargs: Not used.

        Returns:
            The batch with ``anomaly_map`` and ``pred_score``.
        """
        del args, kwargs
        return batch.update(**self.model(batch.image)._asdict())
