# SPDX-License-Identifier: Apache-2.0
"""What every reverse-distillation method does in anomalib's engine."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

from anomalib import LearningType
from anomalib.data import AnomalibDataModule, ImageBatch, InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, cat, nn, optim

from rd_plugin.callbacks import DataCheck, keep_to_own_run, ordered_callbacks
from rd_plugin.components import (
    AlignedBatch,
    AlignType,
    AnomalyMapMode,
    BlurBorder,
    DeviationType,
    MahalanobisDeviation,
    Region,
    ScoreType,
    Teacher,
    Tiles,
    ViTTeacher,
    default_image_size,
    is_plain_vit,
    tiles_of,
)
from rd_plugin.data.check import MAX_PIXELS, OnBadData, set_up
from rd_plugin.data.part_names import chosen_part, group_by_part
from rd_plugin.data.region_file import read_region
from rd_plugin.evaluator import DistillationEvaluator
from rd_plugin.export import ExportedModule
from rd_plugin.post_processor import DistillationPostProcessor
from rd_plugin.provenance import Provenance
from rd_plugin.visualizer import PredictionVisualizer

from .default_length import set_default_length
from .feature_cache import FeatureCache, FeatureCacheType
from .finite_loss import finite_sum
from .inference import predict
from .token_training import GRADIENT_NORM
from .torch_model import DistillationModel

__all__ = ["Distillation"]

# What torch.compile puts into the names of weights.
_COMPILED = "_orig_mod."

# What is taken where an argument is not given: the settings of RD4AD, and for a plain ViT those of Dinomaly.
_DEFAULTS: dict[str, Any] = {
    "anomaly_map_mode": "add",
    "score": "max",
    "blur_sigma": 4.0,
    "map_size": None,
    "learning_rate": 0.005,
    "betas": (0.5, 0.999),
}
_VIT_DEFAULTS: dict[str, Any] = {
    "anomaly_map_mode": "mean",
    "score": 0.01,
    "blur_sigma": 4.0,
    "map_size": 256,
    "learning_rate": 0.002,
    "betas": (0.9, 0.999),
}


class Distillation(ExportedModule):
    """Base of the package's models: the arguments that all methods share, callbacks, evaluation and inference.

    A method takes its own arguments by keyword and passes all others on, builds its torch module from
    :attr:`network_arguments` as ``self.model``, and adds its training step and optimizers.

    Args:
        backbone: Teacher: any timm model that supports ``features_only`` with a pyramid of strides that double, or a
            plain vision transformer, such as DINOv2 or DINOv3.
        layers: Names of the stages to distil, as in timm's ``feature_info``; by default those of strides 4, 8 and 16,
            which are ``layer1``, ``layer2`` and ``layer3`` of a ResNet, or the middle eight blocks of a ViT.
        pre_trained: Teacher weights: ``True`` downloads timm's, ``False`` leaves them random, a path or the name of an
            installed package reads a local file (safetensors or ``torch.save``, timm's names or timm's order).
        image_size: Height and width in pixels, or one number for both, that the default pre-processor resizes images
            to; 256 x 256 by default, for a ViT rounded to whole patches.
        tile_size: Height and width, or one number for both, of tiles that the resized images are cut into, for large
            images with small defects. Each goes through the model alone, in training, in testing and in an export, and
            the tiles' maps are put together. ``None`` for no tiles.
        tile_overlap: How many rows and columns, or one number for both, neighbouring tiles share; their maps are
            averaged there.
        roi: Region of interest: a mask (an image file, white inside) or polygons (a YAML or JSON file, such as
            ``rd-plugin roi`` makes), of the images' aspect ratio. Pixels outside have no influence: networks,
            losses, statistics, map, score and thresholds ignore them. ``None`` for the whole image.
        align: ``"translation"``: each image is registered to the mean of normal ones, and moved, before the networks
            process it; maps are in the image's own pixels. An image that cannot be registered is not moved. ``"none"``
            for parts that do not move, or are in arbitrary orientation.
        deviation: How far the student is from the teacher at a position. ``"cosine"``: by the angle between their
            features (the papers). ``"mahalanobis"``: by how unusual their difference is there among training images,
            which all go through the model once more before each validation. It suits textures; images must have one
            size, and checkpoints and exports grow by a covariance for each position.
        anomaly_map_mode: ``"add"`` the scales (the default), take their ``"mean"`` (for a ViT) or ``"multiply"`` them.
        score: Image score: ``"max"`` or ``"mean"`` of the map; the mean of a share of its pixels, the highest ones,
            given as a fraction in (0, 1]; or that of the highest pixels of so many areas of 8 x 8 pixels, given as a
            whole number of at least 2. By default ``"max"``, for a ViT 0.01.
        map_size: Side of a square in pixels that the map is resized to before it is blurred, by a kernel of 5 x 5
            pixels, and the score is computed; 256 for a ViT, as in Dinomaly, and by default ``None`` for all others,
            whose map is blurred in the images' size.
        blur_sigma: Standard deviation of the map's Gaussian blur, in pixels of the model's input, or of ``map_size``; 4
            by default, 0 for none.
        blur_border: How the blur pads the border, as in ``numpy.pad``: ``"symmetric"`` (the authors) or
            ``"reflect"`` (anomalib's own model, for checkpoints converted from it).
        learning_rate: The optimizer's learning rate for bottleneck and student; 0.005 by default, 0.002 for a ViT.
        betas: The optimizer's decay rates; (0.5, 0.999) by default, (0.9, 0.999) for a ViT.
        on_bad_data: What to do about images and masks that would spoil the result, such as damaged files: ``"error"``,
            ``"skip"``, ``"warn"`` or ``"off"``; see :class:`~rd_plugin.callbacks.DataCheck`.
        validations: Maximum number of validations before the one at the end; ``None`` leaves it to
            the trainer's ``check_val_every_n_epoch`` and ``val_check_interval``, which take precedence if they are not
            Lightning's defaults or, on the command line, if they are given at all.
        max_pixels: Maximum number of pixels in an image file, by default Pillow's limit; a larger one is bad data.
        feature_cache: Whether the frozen network's features of training images are computed once and kept: ``"off"``,
            ``"memory"``, ``"disk"`` or ``"auto"``; see :class:`~rd_plugin.models.distillation.FeatureCache`.
        feature_cache_bytes: Maximum memory for these features.
        pre_processor: anomalib's pre-processor, or whether to use the default: resize to 256 x 256 and normalize.
        post_processor: anomalib's post-processor, or whether to use
            :class:`~rd_plugin.post_processor.DistillationPostProcessor`.
        evaluator: anomalib's evaluator, or whether to use :class:`~rd_plugin.evaluator.DistillationEvaluator`.
        visualizer: anomalib's visualizer, or whether to use :class:`~rd_plugin.visualizer.PredictionVisualizer`.
        report: Whether a test writes ``report.html`` into the run's folder; see
            :class:`~rd_plugin.callbacks.ReportWriter`.

    Attributes:
        model: The torch module.
        network_arguments: What the torch module of every method takes.
        default_max_epochs: Length of the paper's training in epochs, taken if the user sets no limit at all; -1 for
            none.
        default_max_steps: The same in steps.
        defaults: What is taken where an argument is not given.
        vit_defaults: The same with a plain ViT.
        vit_length: Epochs and steps with a plain ViT.
    """

    model: DistillationModel
    default_max_epochs: int = -1
    default_max_steps: int = -1
    defaults: Mapping[str, Any] = _DEFAULTS
    vit_defaults: Mapping[str, Any] = _VIT_DEFAULTS
    # Dinomaly's authors train a model of one part for 5,000 steps.
    vit_length: tuple[int, int] = (-1, 5000)

    def __init__(
        self,
        backbone: str = "wide_resnet50_2.tv_in1k",
        layers: Sequence[str] | None = None,
        pre_trained: bool | str | Path = True,
        *,
        image_size: int | tuple[int, int] | None = None,
        tile_size: int | tuple[int, int] | None = None,
        tile_overlap: int | tuple[int, int] = 0,
        roi: str | Path | dict[str, Any] | None = None,
        align: AlignType = "none",
        deviation: DeviationType = "cosine",
        anomaly_map_mode: AnomalyMapMode | None = None,
        score: ScoreType | None = None,
        blur_sigma: float | None = None,
        blur_border: BlurBorder = "symmetric",
        map_size: int | None = None,
        learning_rate: float | None = None,
        betas: tuple[float, float] | None = None,
        on_bad_data: OnBadData = "error",
        max_pixels: int = MAX_PIXELS,
        validations: int | None = 5,
        feature_cache: FeatureCacheType = "auto",
        feature_cache_bytes: int = 2 * 2**30,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
        report: bool = True,
    ) -> None:
        # Plain types, since these become the checkpoint's hyper-parameters; OmegaConf gives lists of its own.
        layers = None if layers is None or isinstance(layers, str) else list(layers)
        given: dict[str, Any] = {
            "anomaly_map_mode": anomaly_map_mode,
            "score": score,
            "blur_sigma": blur_sigma,
            "map_size": map_size,
            "learning_rate": learning_rate,
            "betas": None if betas is None else (float(betas[0]), float(betas[1])),
        }
        defaults = self.vit_defaults if is_plain_vit(backbone) else self.defaults
        chosen = {name: defaults[name] if value is None else value for name, value in given.items()}
        image_size = None if image_size is None else _checked_size(image_size, pre_processor)
        size = image_size or (default_image_size(backbone) if pre_processor is True else None)
        super().__init__(
            pre_processor=pre_processor if size is None else self.configure_pre_processor(size),
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )
        # Lightning collects them as a method's constructor was given them.
        self.hparams.update(layers=layers, image_size=image_size, **chosen)
        tiles = tiles_of(tile_size, tile_overlap)
        # As plain values, since the file may be gone when a checkpoint is read.
        region = None if roi is None else read_region(roi).plain()
        self.hparams.update(_tile_arguments(tiles), roi=region)
        if tiles is not None and self.resized_to is not None:
            tiles.check(self.resized_to)
        self.network_arguments: dict[str, Any] = {
            "backbone": backbone,
            "layers": layers,
            "pre_trained": pre_trained,
            "deviation": deviation,
            **{name: chosen[name] for name in ("anomaly_map_mode", "score", "blur_sigma", "map_size")},
            "blur_border": blur_border,
            "image_size": self.resized_to,
            "roi": region,
            "align": align,
            **_tile_arguments(tiles),
        }
        self.learning_rate: float = chosen["learning_rate"]
        self.betas: tuple[float, float] = chosen["betas"]
        self.on_bad_data = on_bad_data
        self.max_pixels = max_pixels
        self._data_check: DataCheck | None = None
        self.validations = validations
        self.feature_cache = feature_cache
        self.feature_cache_bytes = feature_cache_bytes
        self.report = report
        # Paths of images that could not be registered, since the beginning of a validation, test or prediction.
        self.unregistered: list[str] = []
        self._frozen: FeatureCache | None = None

    @property
    def trainer(self) -> Trainer:
        """The trainer that this model is attached to."""
        return LightningModule.trainer.fget(self)  # type: ignore[attr-defined]

    @trainer.setter
    def trainer(self, trainer: Trainer | None) -> None:
        # anomalib lets a model's trainer_arguments overrule the user's, so a default must be set elsewhere; this is the
        # last moment at which a limit that was not given can be distinguished from Lightning's own 1,000 epochs.
        LightningModule.trainer.fset(self, trainer)  # type: ignore[attr-defined]
        if trainer is not None:
            set_default_length(trainer, self.default_max_epochs, self.default_max_steps)

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """Trainer arguments that the method needs and the user cannot change."""
        return {"num_sanity_val_steps": 0}

    @property
    def learning_type(self) -> LearningType:
        """The models learn from normal images only."""
        return LearningType.ONE_CLASS

    def described_arguments(self) -> dict[str, Any]:
        """Return what the model was built with, the layers by name where they were left to the default, too."""
        return {
            **super().described_arguments(),
            "layers": list(self.model.teacher.layers),
            # anomalib's TilerConfigurationCallback may have set them.
            **_tile_arguments(self.model.tiler),
            "roi": None if self.model.roi is None else self.model.roi.region.plain(),
            "align": self.model.align,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that a checkpoint fits the model, and take over its record, components, tiles, region and alignment.

        Raises:
            ValueError: If it does not fit.
        """
        record = Provenance.of(checkpoint) or Provenance()
        tiles = tiles_of(record.arguments.get("tile_size"), record.arguments.get("tile_overlap", 0))
        if tiles is not None and self.model.tiler is None:
            self.model.tiler = tiles
        region = record.arguments.get("roi")
        if region is not None and self.model.roi is None:
            self.model.set_roi(Region.of(region), self.resized_to or record.input_size)
        if self.model.alignment is None:
            self.model.set_align(record.arguments.get("align", "none"), self.resized_to or record.input_size)
        super().on_load_checkpoint(checkpoint)
        # The checkpoint's pre-processor may resize to another size, and a ViT's position table has that.
        if size := self.resized_to or record.input_size:
            self.model.set_size(size)
        compiled = {name.replace(_COMPILED, ""): name for name in self.state_dict() if _COMPILED in name}
        if compiled:
            state = checkpoint["state_dict"]
            checkpoint["state_dict"] = {compiled.get(name, name): value for name, value in state.items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the record, and name the weights of a compiled network as those of one that is not."""
        super().on_save_checkpoint(checkpoint)
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name.replace(_COMPILED, ""): value for name, value in state.items()}

    def configure_callbacks(self) -> Sequence[Callback]:
        """Return anomalib's components that are callbacks, and the package's own."""
        callbacks = super().configure_callbacks()
        # The same in all stages: a test's report lists what was found before the training.
        self._data_check = self._data_check or DataCheck(self.on_bad_data, self.max_pixels)
        own = ordered_callbacks(
            report=self.report,
            data_check=self._data_check,
            validations=self.validations,
            statistics=isinstance(self.model.deviation, MahalanobisDeviation),
            aligned=self.model.alignment is not None,
        )
        own.append(LambdaCallback(on_exception=self._let_frozen_network_go))
        return [*(callbacks if isinstance(callbacks, Sequence) else [callbacks]), *own]

    @staticmethod
    def configure_post_processor() -> PostProcessor:
        """Return the post-processor that can set thresholds on good images alone."""
        return DistillationPostProcessor()

    @staticmethod
    def configure_evaluator() -> Evaluator:
        """Return the evaluator with the papers' metrics."""
        return DistillationEvaluator()

    @classmethod
    def configure_visualizer(cls) -> PredictionVisualizer:
        """Return the visualizer that draws verdict and score, too."""
        return PredictionVisualizer()

    def prepare_data(self) -> None:
        """Choose the results' folder, and set the data module up before Lightning does: it names missing masks."""
        keep_to_own_run(self.trainer)
        datamodule = getattr(self.trainer, "datamodule", None)
        if self.on_bad_data != "off" and isinstance(datamodule, AnomalibDataModule):
            set_up(datamodule)

    def on_fit_start(self) -> None:
        """Read the teacher's weights before anything else is done, so that a wrong file stops the run at once.

        Raises:
            ValueError: If images of several parts would be registered to the mean of all.
        """
        if self.model.alignment is not None and len(getattr(self.post_processor, "parts", ())) > 1:
            msg = "align: parts of several kinds have no common mean to be registered to; omit it, or train on one."
            raise ValueError(msg)
        self.model.teacher.load_pretrained()

    @property
    def is_vit(self) -> bool:
        """Whether the teacher is a plain vision transformer."""
        return isinstance(self.model.teacher, ViTTeacher)

    @property
    def steps(self) -> float:
        """Number of steps of the training; the default one with a ViT without a trainer or a limit of steps."""
        steps = float("inf") if self._trainer is None else self.trainer.estimated_stepping_batches
        return float(self.vit_length[1]) if steps == float("inf") else float(steps)

    @property
    def frozen_network(self) -> Teacher:
        """The network whose features of a training image never change while the model is trained."""
        return self.model.teacher

    def on_train_start(self) -> None:
        """Make room for the frozen network's features."""
        dataset = getattr(self.trainer.train_dataloader, "dataset", None)
        images = len(dataset) if isinstance(dataset, Sized) else 0
        self._frozen = FeatureCache(self.frozen_network, self.feature_cache, self.feature_cache_bytes, images)

    def on_train_batch_start(self, batch: ImageBatch, batch_idx: int) -> None:
        """Align the images, which the pre-processor has normalized."""
        del batch_idx
        self.align_batch(batch)

    def align_batch(self, batch: ImageBatch) -> None:
        """Replace pre-processed training images by aligned ones, if the model aligns."""
        if self.model.alignment is not None:
            batch.image = self.model.aligned(cast("Tensor", batch.image))

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

        Returns:
            Two lists of features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse, of tiles if there is a tiler.
        """
        images = self.model.network_inputs(cast("Tensor", batch.image))
        if self.frozen_network is self.model.teacher:
            return self.model.distill_features(self.frozen_features(images, batch))
        return self.model.distill(images)

    def has_kept(self, paths: Sequence[str]) -> bool:
        """Return whether :meth:`distill_kept` needs no image of these files."""
        frozen = self._frozen
        return self.frozen_network is self.model.teacher and frozen is not None and frozen.has_kept(paths)

    def distill_kept(self, paths: Sequence[str]) -> tuple[list[Tensor], list[Tensor]]:
        """Return what :meth:`distill_batch` does, from kept features alone.

        Args:
            paths: Files of training images, whose features are kept.

        Returns:
            Two lists of features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.
        """
        return self.model.distill_features(cast("FeatureCache", self._frozen).kept(paths, self.device))

    def on_fit_end(self) -> None:
        """Release the features."""
        self._let_frozen_network_go()

    def _let_frozen_network_go(self, *_: object) -> None:
        self._frozen = None

    def forward(  # type: ignore[override]
        self, batch: Tensor, *args: Any, part: str | None = None, **kwargs: Any
    ) -> InferenceBatch | AlignedBatch:
        """Predict images as they are read; an export computes this, too.

        An image that holds NaN gets NaN as score and map and counts as anomalous. An export cannot raise the errors
        below: there an image with a value outside of the range is treated like one with NaN, ONNX Runtime and OpenVINO
        refuse images of another shape, and of another type ONNX Runtime refuses them and OpenVINO converts them.

        Args:
            batch: Images of shape ``(N, 3, H, W)`` in [0, 1]; normalized ones if there is no pre-processor.
            *args: Not used.
            part: Of a model for several parts, the name of the one that the images show.
            **kwargs: Not used.

        Returns:
            Scores and labels of shape ``(N, 1)``, anomaly maps and masks of shape ``(N, 1, H', W')`` in the size that
            the pre-processor gives.

        Raises:
            TypeError: If the images are of another type than the weights.
            ValueError: If they are of another shape or range, or the model has no such part.
        """
        del args, kwargs
        post_processor: Any = self.post_processor
        names = getattr(post_processor, "parts", ())
        if part is not None or names:
            part = chosen_part(part, names)
            post_processor = post_processor.of(part)
        with nullcontext() if part is None else self.model.as_part(part):
            return predict(batch, self.pre_processor, self.model, post_processor)

    def validation_step(self, batch: ImageBatch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Add predictions to a batch; the post-processor sets its thresholds from them.

        Args:
            batch: Images and, if there are any, labels and masks.
            *args: Not used.
            **kwargs: Not used.

        Returns:
            The batch with ``anomaly_map`` and ``pred_score``.
        """
        del args, kwargs
        found = self._predicted(batch)
        registration = found.get("registration")
        if registration is not None and batch.image_path is not None:
            self.unregistered += [path for path, row in zip(batch.image_path, registration, strict=True) if not row[0]]
        # anomalib's batches have no place for a registration, and leave it out.
        return batch.update(**found)

    def test_step(self, batch: Any, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Add predictions to a batch, as :meth:`validation_step` does."""
        return self.validation_step(batch, *args, **kwargs)

    def predict_step(self, batch: Any, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Add predictions to a batch, as :meth:`validation_step` does."""
        return self.validation_step(batch, *args, **kwargs)

    def _predicted(self, batch: ImageBatch) -> dict[str, Any]:
        """Predictions of the network, for each image those of its part, if parts differ."""
        images = cast("Tensor", batch.image)
        if not self.model.parts:
            return self.model(images)._asdict()
        groups = group_by_part(batch.image_path or (), self.model.parts)
        found = []
        for part, indices in groups.items():
            with self.model.as_part(part):
                found.append(self.model(images[indices]))
        back = [index for indices in groups.values() for index in indices]
        order = sorted(range(len(back)), key=back.__getitem__)
        return {
            "pred_score": cat([each.pred_score for each in found])[order],
            "anomaly_map": cat([each.anomaly_map for each in found])[order],
        }

    def adam(self, parameters: Iterable[nn.Parameter | dict[str, Any]], learning_rate: float) -> optim.Optimizer:
        """Return Adam over those of ``parameters`` that are trained, or over groups of them, as torch takes them."""
        trained: Any = [each for each in parameters if isinstance(each, dict) or each.requires_grad]
        # With it, Lightning refuses to clip gradients in 16-bit training.
        clips = self._trainer is not None and self.trainer.gradient_clip_val and self.trainer.precision != "32-true"
        if self.device.type == "cpu" and not clips:
            # One pass over the weights instead of seven.
            return optim.Adam(trained, lr=learning_rate, betas=self.betas, fused=True)
        # On a GPU it gains little.
        return optim.Adam(trained, lr=learning_rate, betas=self.betas)

    def configure_gradient_clipping(
        self,
        optimizer: optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients as the trainer's arguments say; for a ViT by default to a norm of 0.1."""
        if gradient_clip_val is None and self.is_vit:
            gradient_clip_val = GRADIENT_NORM
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: optim.Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Take a step as Lightning does, and release the gradients: the next forward pass can use their memory.

        Args:
            epoch: Current epoch.
            batch_idx: Current batch.
            optimizer: The optimizer.
            optimizer_closure: What Lightning wraps forward and backward pass in.
        """
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        optimizer.zero_grad()

    def total_loss(self, name: str, scales: Sequence[Tensor], batch: ImageBatch) -> Tensor:
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
        layers = self.model.teacher.pyramid.distilled
        loss = finite_sum(name, dict(zip(layers, scales, strict=True)), self.global_step, batch.image_path)
        self.log(name, loss.detach(), on_step=True, on_epoch=True, prog_bar=True, batch_size=batch.batch_size)
        return loss


def _tile_arguments(tiles: Tiles | None) -> dict[str, Any]:
    """The arguments that tiles come from, as plain values."""
    if tiles is None:
        return {"tile_size": None, "tile_overlap": 0}
    return {"tile_size": tiles.size, "tile_overlap": tiles.overlap}


def _checked_size(size: int | Sequence[int], pre_processor: PreProcessor | bool) -> tuple[int, int]:
    """The size that images are resized to, as plain numbers.

    Raises:
        ValueError: If it is not a height and a width, or the pre-processor is not the default one.
    """
    if pre_processor is not True:
        msg = "image_size is for the default pre-processor: leave it out, or pre_processor."
        raise ValueError(msg)
    size = [size, size] if isinstance(size, int) else size
    if len(size) != 2 or any(side < 1 for side in size):
        msg = f"image_size must be a height and a width in pixels, got {list(size)}."
        raise ValueError(msg)
    return int(size[0]), int(size[1])
