# SPDX-License-Identifier: Apache-2.0
"""What every reverse-distillation method does in anomalib's engine."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from anomalib import LearningType
from anomalib.data import AnomalibDataModule, ImageBatch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn, optim

from rd_plugin.callbacks import DataCheck, MemoryReuse, OnBadData, ValidationSchedule
from rd_plugin.callbacks.data_check import set_up
from rd_plugin.evaluator import DistillationEvaluator
from rd_plugin.post_processor import DistillationPostProcessor
from rd_plugin.quantization import quantize

from .torch_model import DistillationModel

if TYPE_CHECKING:
    import openvino as ov

__all__ = ["Distillation"]


class Distillation(AnomalibModule):
    """Base of the package's models: evaluation, schedule and defaults.

    A method adds its torch module as ``self.model``, its training step and its optimizers.

    Args:
        learning_rate: Adam's learning rate for bottleneck and student.
        betas: Adam's decay rates.
        on_bad_data: What :class:`~rd_plugin.callbacks.DataCheck` does about data that would spoil the result.
        pre_processor: anomalib's pre-processor, or whether to use the default.
        post_processor: anomalib's post-processor, or whether to use the default.
        evaluator: anomalib's evaluator, or whether to use the default.
        visualizer: anomalib's visualizer, or whether to use the default.

    Attributes:
        model: The torch module.
        default_max_epochs: Length of the paper's training in epochs, taken if the user sets no limit at all; -1 for
            none.
        default_max_steps: The same in steps.
    """

    model: DistillationModel
    default_max_epochs: int = -1
    default_max_steps: int = -1

    def __init__(
        self,
        learning_rate: float,
        betas: tuple[float, float],
        on_bad_data: OnBadData,
        pre_processor: PreProcessor | bool,
        post_processor: PostProcessor | bool,
        evaluator: Evaluator | bool,
        visualizer: Visualizer | bool,
    ) -> None:
        super().__init__(
            pre_processor=pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )
        self.learning_rate = learning_rate
        self.betas = betas
        self.on_bad_data = on_bad_data

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
        callbacks: Sequence[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if not any(isinstance(callback, Timer) for callback in callbacks):
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
        own = [DataCheck(self.on_bad_data), ValidationSchedule(), MemoryReuse()]
        return [*(callbacks if isinstance(callbacks, Sequence) else [callbacks]), *own]

    @staticmethod
    def configure_post_processor() -> PostProcessor:
        """Return the post-processor that can set thresholds on good images alone."""
        return DistillationPostProcessor()

    @staticmethod
    def configure_evaluator() -> Evaluator:
        """Return the evaluator with the papers' metrics."""
        return DistillationEvaluator()

    def prepare_data(self) -> None:
        """Set the data module up before Lightning does, so that masks that are missing are named."""
        datamodule = getattr(self.trainer, "datamodule", None)
        if self.on_bad_data != "off" and isinstance(datamodule, AnomalibDataModule):
            set_up(datamodule)

    def on_fit_start(self) -> None:
        """Read the teacher's weights before anything else is done, so that a wrong file stops the run at once."""
        self.model.teacher.load_pretrained()

    def validation_step(self, batch: ImageBatch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
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

    def adam(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> optim.Optimizer:
        """Return Adam over those of ``parameters`` that are trained."""
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        return optim.Adam(trained, lr=learning_rate, betas=self.betas)

    def finish_loss(self, name: str, scales: Sequence[Tensor], batch: ImageBatch) -> Tensor:
        """Add up the losses of the scales, log the sum, and stop the run if it is not finite.

        Args:
            name: Name of the loss in logs and in the progress bar.
            scales: Scalar loss of each scale.
            batch: The batch that they come from.

        Returns:
            Scalar loss.

        Raises:
            ValueError: If the loss is NaN or infinite; names the step, the scales and the batch's files.
        """
        loss = torch.stack(list(scales)).sum()
        if not torch.isfinite(loss):
            losses = zip(self.model.teacher.pyramid.distilled, torch.stack(list(scales)).tolist(), strict=True)
            listed = ", ".join(f"{layer} {value:g}" for layer, value in losses)
            files = ", ".join(batch.image_path or ["unknown"])
            msg = (
                f"{name} at step {self.global_step} is not finite ({listed}). The weights would be lost; the last "
                f"checkpoint is kept. Lower learning_rate or look at the images of this batch: {files}."
            )
            raise ValueError(msg)
        self.log(name, loss.detach(), on_step=True, on_epoch=True, prog_bar=True, batch_size=batch.batch_size)
        return loss

    @staticmethod
    def _post_training_quantization_ov(model: "ov.Model", datamodule: AnomalibDataModule | None = None) -> "ov.Model":
        """Quantize an OpenVINO model, leaving the anomaly map in floating point; called by anomalib's export.

        Raises:
            ValueError: If there is no data module to calibrate with.
        """
        if datamodule is None:
            msg = "compression_type INT8_PTQ needs images to calibrate with: give --data, or datamodule in Python."
            raise ValueError(msg)
        return quantize(model, datamodule)
