# SPDX-License-Identifier: Apache-2.0
"""What every reverse-distillation method does in anomalib's engine."""

from collections.abc import Callable, Iterable, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from anomalib import LearningType, TaskType
from anomalib.data import AnomalibDataModule, ImageBatch, InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LambdaCallback, Timer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn, optim
from torchmetrics import Metric

from rd_plugin.atomic import atomic_export
from rd_plugin.callbacks import (
    AtomicCheckpoints,
    AtomicPictures,
    DataCheck,
    FiniteWeights,
    MemoryReuse,
    NormalStatistics,
    OnBadData,
    ProvenanceWriter,
    ResultsFolder,
    ValidationSchedule,
)
from rd_plugin.callbacks.data_check import set_up
from rd_plugin.callbacks.results_folder import check_folder, state_size
from rd_plugin.evaluator import DistillationEvaluator
from rd_plugin.export import compact, quantize, quantize_with_control
from rd_plugin.models.components import (
    FINITE_RANGE,
    RAW_RANGE,
    ChannelsLastAdam,
    FeatureCache,
    FeatureCacheType,
    MahalanobisDeviation,
    Teacher,
    check_range,
    withhold,
    within,
)
from rd_plugin.post_processor import DistillationPostProcessor

from .recorded_module import RecordedModule

if TYPE_CHECKING:
    import openvino as ov

__all__ = ["Distillation"]

# The lowest that torch's exporter writes.
_ONNX_OPSET = 18


class Distillation(RecordedModule):
    """Base of the package's models: evaluation, schedule and defaults.

    A method adds its torch module as ``self.model``, its training step and its optimizers.

    Args:
        learning_rate: Adam's learning rate for bottleneck and student.
        betas: Adam's decay rates.
        on_bad_data: What :class:`~rd_plugin.callbacks.DataCheck` does about data that would spoil the result.
        feature_cache: Where :class:`~rd_plugin.models.components.FeatureCache` keeps the frozen network's features.
        feature_cache_bytes: How much memory it may take.
        pre_processor: anomalib's pre-processor, or whether to use the default.
        post_processor: anomalib's post-processor, or whether to use the default.
        evaluator: anomalib's evaluator, or whether to use the default.
        visualizer: anomalib's visualizer, or whether to use the default.

    Attributes:
        default_max_epochs: Length of the paper's training in epochs, taken if the user sets no limit at all; -1 for
            none.
        default_max_steps: The same in steps.
    """

    default_max_epochs: int = -1
    default_max_steps: int = -1

    def __init__(
        self,
        learning_rate: float,
        betas: tuple[float, float],
        on_bad_data: OnBadData,
        feature_cache: FeatureCacheType,
        feature_cache_bytes: int,
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
        self.feature_cache = feature_cache
        self.feature_cache_bytes = feature_cache_bytes
        self._frozen: FeatureCache | None = None

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
        # A folder that cannot be written to is found before the data is read, and the visualizer's pictures are moved
        # after it has drawn them.
        own = [
            ResultsFolder(),
            AtomicCheckpoints(),
            AtomicPictures(),
            FiniteWeights(),
            DataCheck(self.on_bad_data),
            ValidationSchedule(),
            MemoryReuse(),
            ProvenanceWriter(),
            LambdaCallback(on_exception=self._let_frozen_network_go),
        ]
        if isinstance(self.model.deviation, MahalanobisDeviation):
            own.append(NormalStatistics())
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

    @property
    def frozen_network(self) -> Teacher:
        """The network whose features of a training image never change while the model is trained."""
        return self.model.teacher

    def on_train_start(self) -> None:
        """Make room for the frozen network's features."""
        dataset = getattr(self.trainer.train_dataloader, "dataset", None)
        images = len(dataset) if isinstance(dataset, Sized) else 0
        self._frozen = FeatureCache(self.frozen_network, self.feature_cache, self.feature_cache_bytes, images)

    def frozen_features(self, images: Tensor, batch: ImageBatch) -> list[Tensor]:
        """Return the frozen network's features, as kept or computed.

        Args:
            images: The batch's images, or their tiles, of shape ``(N, 3, H, W)``.
            batch: The batch, which knows the images' files.

        Returns:
            Features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.
        """
        return cast("FeatureCache", self._frozen)(images, batch.image_path)

    def distill_batch(self, batch: ImageBatch) -> tuple[list[Tensor], list[Tensor]]:
        """Return the features of teacher and student for training images; the teacher's as kept, if it is frozen.

        Args:
            batch: The images.

        Returns:
            Two lists of features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse, of tiles if there is a tiler.
        """
        images = self.model.tiles(cast("Tensor", batch.image))
        if self.frozen_network is self.model.teacher:
            return self.model.distill_features(self.frozen_features(images, batch))
        return self.model.distill(images)

    def on_fit_end(self) -> None:
        """Let the features go."""
        self._let_frozen_network_go()

    def _let_frozen_network_go(self, *_: object) -> None:
        self._frozen = None

    def forward(self, batch: Tensor, *args: Any, **kwargs: Any) -> InferenceBatch:
        """Predict images as they are read; an export computes this, too.

        An image that holds NaN gets NaN as score and map and counts as anomalous. An export cannot raise the errors
        below: there an image with a value outside of the range is treated like one with NaN, ONNX Runtime and OpenVINO
        refuse images of another shape, and of another type ONNX Runtime refuses them and OpenVINO converts them.

        Args:
            batch: Images of shape ``(N, 3, H, W)`` in [0, 1]; normalized ones if there is no pre-processor.
            *args: Not used.
            **kwargs: Not used.

        Returns:
            Scores and labels of shape ``(N, 1)``, anomaly maps and masks of shape ``(N, 1, H', W')`` in the size that
            the pre-processor gives.

        Raises:
            TypeError: If the images are of another type than the weights.
            ValueError: If they are of another shape or range.
        """
        del args, kwargs
        bounds = RAW_RANGE if self.pre_processor else FINITE_RANGE
        self.model.check(batch)
        check_range(batch, bounds)
        images = self.pre_processor(batch) if self.pre_processor else batch
        predictions = self.model.predict(images)
        if self.post_processor:
            predictions = self.post_processor(predictions)
        # Not before the post-processor, in whose clamp OpenVINO makes 0 of NaN, which is normal.
        return withhold(predictions, within(batch, bounds))

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
        if self.device.type == "cpu":
            # One pass over the weights instead of seven.
            return ChannelsLastAdam(trained, lr=learning_rate, betas=self.betas, fused=True)
        # On a GPU it gains little, and Lightning would refuse gradient clipping beside it in 16-bit training.
        return optim.Adam(trained, lr=learning_rate, betas=self.betas)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: optim.Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Take a step as Lightning does, and let the gradients go: the next forward pass can use their memory.

        Args:
            epoch: Current epoch.
            batch_idx: Current batch.
            optimizer: The optimizer.
            optimizer_closure: What Lightning wraps forward and backward pass in.
        """
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        optimizer.zero_grad()

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

    def to_torch(self, export_root: Path | str, *args: Any, **kwargs: Any) -> Path:
        """Export to a PyTorch file, whole or not at all; see anomalib's method for arguments and result."""
        return self._export(super().to_torch, export_root, *args, **kwargs)

    def to_onnx(  # type: ignore[override]  # anomalib's has nothing in common with Lightning's, either
        self, export_root: Path | str, *args: Any, **kwargs: Any
    ) -> Path:
        """Export to ONNX, whole or not at all; see anomalib's method for arguments and result."""
        # anomalib asks for a version that torch does not write, and torch logs how it fails to convert its own.
        kwargs.setdefault("opset_version", _ONNX_OPSET)
        return self._export(super().to_onnx, export_root, *args, **kwargs)

    def to_openvino(self, export_root: Path | str, *args: Any, **kwargs: Any) -> Path:
        """Export to OpenVINO, whole or not at all; see anomalib's method for arguments and result."""
        return self._export(self._to_compact_openvino, export_root, *args, **kwargs)

    def _to_compact_openvino(self, export_root: Path | str, *args: Any, **kwargs: Any) -> Path:
        path = super().to_openvino(export_root, *args, **kwargs)
        compact(path, self.model.anomaly_map_generator)
        return path

    def _export(self, export: Callable[..., Path], export_root: Path | str, *args: Any, **kwargs: Any) -> Path:
        """Call one of anomalib's exports.

        Raises:
            OSError: If the folder cannot be written to or has less space than the weights take.
        """
        check_folder(export_root, state_size(self), "export_root")
        return atomic_export(export, export_root, *args, **kwargs)

    @staticmethod
    def _post_training_quantization_ov(model: "ov.Model", datamodule: AnomalibDataModule | None = None) -> "ov.Model":
        """Quantize an OpenVINO model, leaving the anomaly map in floating point; called by anomalib's export.

        Raises:
            ValueError: If there is no data module to calibrate with.
        """
        return quantize(model, _calibrating(datamodule, "INT8_PTQ"))

    @staticmethod
    def _accuracy_control_quantization_ov(
        model: "ov.Model",
        datamodule: AnomalibDataModule | None = None,
        metric: Metric | None = None,
        task: TaskType | None = None,
        max_drop: float = 0.01,
    ) -> "ov.Model":
        """Quantize an OpenVINO model as far as its accuracy on the validation images allows; called by anomalib.

        Raises:
            ValueError: If there is no data module, ``max_drop`` is out of range or the validation images do not do.
        """
        del task  # the metric says what it measures
        return quantize_with_control(model, _calibrating(datamodule, "INT8_ACQ"), metric, max_drop)


def _calibrating(datamodule: AnomalibDataModule | None, compression: str) -> AnomalibDataModule:
    """The data module, which has to be there."""
    if datamodule is None:
        msg = f"compression_type {compression} needs images to calibrate with: give --data, or datamodule in Python."
        raise ValueError(msg)
    return datamodule
