# SPDX-License-Identifier: Apache-2.0
"""Reverse distillation in anomalib's engine (Deng and Li, CVPR 2022)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anomalib.data import ImageBatch
from anomalib.metrics import Evaluator
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import optim

from rd_plugin.callbacks import OnBadData
from rd_plugin.models.components import (
    AnomalyMapMode,
    BlurBorder,
    BottleneckType,
    CosineLoss,
    DeviationType,
    FeatureCacheType,
    LossType,
    ScoreType,
)
from rd_plugin.models.distillation import Distillation

from .torch_model import ReverseDistillationModel

__all__ = ["ReverseDistillation"]


class ReverseDistillation(Distillation):
    """RD4AD: anomaly detection via reverse distillation from one-class embedding.

    A frozen teacher extracts features at several scales, a bottleneck embeds them, and a student rebuilds them from the
    embedding alone. Trained on normal images, the student fails on anomalies; where its features point in another
    direction than the teacher's, the anomaly map is high.

    All defaults are the paper's recipe as its authors' program runs it.

    Args:
        backbone: Teacher: any timm model that supports ``features_only`` with a pyramid of strides that double.
        layers: Names of the stages to distil, as in timm's ``feature_info``; by default those of strides 4, 8 and 16,
            which are ``layer1``, ``layer2`` and ``layer3`` of a ResNet.
        pre_trained: Teacher weights: ``True`` downloads timm's, ``False`` leaves them random, a path or the name of an
            installed package reads a local file (safetensors or ``torch.save``, timm's names or timm's order).
        bottleneck: ``"mff_oce"`` (all scales fused and embedded), ``"oce"`` (the coarsest scale embedded) or ``"none"``
            (the teacher's next stage, not trained): the paper's ablation.
        loss: ``"flattened"`` (the authors' program, published figures) or ``"per_pixel"`` (the paper's equations).
        deviation: How far the student is from the teacher at a position. ``"cosine"``: by the angle between their
            features (the papers). ``"mahalanobis"``: by how unusual their difference is there among training images,
            which all go through the model once more before each validation. It suits textures; images must have one
            size, and checkpoints and exports grow by a covariance for each position.
        anomaly_map_mode: ``"add"`` or ``"multiply"`` the scales.
        score: Image score: ``"max"`` or ``"mean"`` of the map, or the mean of a share of its pixels, the highest ones,
            given as a fraction in (0, 1].
        blur_sigma: Standard deviation of the map's Gaussian blur, in pixels of the model's input; 0 for none.
        blur_border: What the blur sees beyond the border, as in ``numpy.pad``: ``"symmetric"`` (the authors) or
            ``"reflect"`` (anomalib's own model, for checkpoints converted from it).
        learning_rate: Adam's learning rate.
        betas: Adam's decay rates.
        on_bad_data: What to do about images and masks that would spoil the result, such as damaged files: ``"error"``,
            ``"skip"``, ``"warn"`` or ``"off"``; see :class:`~rd_plugin.callbacks.DataCheck`.
        feature_cache: Whether the teacher's features of training images are computed once and kept: ``"off"``,
            ``"memory"``, ``"disk"`` or ``"auto"``; see :class:`~rd_plugin.models.components.FeatureCache`.
        feature_cache_bytes: How much memory they may take.
        pre_processor: anomalib's pre-processor, or whether to use the default: resize to 256 x 256 and normalize.
        post_processor: anomalib's post-processor, or whether to use
            :class:`~rd_plugin.post_processor.DistillationPostProcessor`.
        evaluator: anomalib's evaluator, or whether to use :class:`~rd_plugin.evaluator.DistillationEvaluator`.
        visualizer: anomalib's visualizer, or whether to use the default.

    Raises:
        ValueError: If an argument is out of range, the backbone is unknown or a layer does not exist.

    Example:
        >>> model = ReverseDistillation(backbone="resnet18")
        >>> model.model.teacher.pyramid.distilled
        ('layer1', 'layer2', 'layer3')
    """

    loss: CosineLoss
    default_max_epochs = 200

    def __init__(
        self,
        backbone: str = "wide_resnet50_2.tv_in1k",
        layers: Sequence[str] | None = None,
        pre_trained: bool | str | Path = True,
        bottleneck: BottleneckType = "mff_oce",
        loss: LossType = "flattened",
        deviation: DeviationType = "cosine",
        anomaly_map_mode: AnomalyMapMode = "add",
        score: ScoreType = "max",
        blur_sigma: float = 4.0,
        blur_border: BlurBorder = "symmetric",
        learning_rate: float = 0.005,
        betas: tuple[float, float] = (0.5, 0.999),
        on_bad_data: OnBadData = "error",
        feature_cache: FeatureCacheType = "auto",
        feature_cache_bytes: int = 2 * 2**30,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        # Plain types, since these become the checkpoint's hyper-parameters; OmegaConf gives lists of its own.
        layers = None if layers is None or isinstance(layers, str) else list(layers)
        betas = (float(betas[0]), float(betas[1]))
        super().__init__(
            learning_rate=learning_rate,
            betas=betas,
            on_bad_data=on_bad_data,
            feature_cache=feature_cache,
            feature_cache_bytes=feature_cache_bytes,
            pre_processor=pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )
        self.model = ReverseDistillationModel(
            backbone=backbone,
            layers=layers,
            pre_trained=pre_trained,
            bottleneck=bottleneck,
            deviation=deviation,
            anomaly_map_mode=anomaly_map_mode,
            score=score,
            blur_sigma=blur_sigma,
            blur_border=blur_border,
        )
        self.loss = CosineLoss(loss)

    def configure_optimizers(self) -> optim.Optimizer:
        """Return Adam over bottleneck and student; the frozen teacher is not among its parameters."""
        return self.adam(self.model.parameters(), self.learning_rate)

    def training_step(self, batch: ImageBatch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Return the loss of one batch of normal images.

        Args:
            batch: The images.
            *args: Not used.
            **kwargs: Not used.
        """
        del args, kwargs
        return self.finish_loss("train_loss", self.loss.scales(*self.distill_batch(batch)), batch)
