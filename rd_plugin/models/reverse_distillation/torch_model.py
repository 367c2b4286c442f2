# SPDX-License-Identifier: Apache-2.0
"""Reverse distillation as a torch module (Deng and Li, CVPR 2022)."""

from collections.abc import Sequence
from pathlib import Path

from anomalib.data import InferenceBatch
from anomalib.data.utils.tiler import Tiler
from torch import Tensor, nn

from rd_plugin.models.components import (
    AnomalyMapGenerator,
    AnomalyMapMode,
    BlurBorder,
    BottleneckType,
    ImageScore,
    ScoreType,
    Student,
    Teacher,
    build_bottleneck,
    cosine_deviation,
)

__all__ = ["ReverseDistillationModel"]


class ReverseDistillationModel(nn.Module):
    """Teacher, bottleneck and student, and the anomaly map from their features.

    Args:
        backbone: Name of a timm model that supports ``features_only``.
        layers: Names of the stages to distil, or ``None`` for those of strides 4, 8 and 16.
        pre_trained: ``True`` for timm's weights, ``False`` for random ones, or a file or package with weights.
        bottleneck: ``"mff_oce"``, ``"oce"`` or ``"none"``.
        anomaly_map_mode: ``"add"`` or ``"multiply"``.
        score: ``"max"``, ``"mean"`` or the share of highest pixels whose mean is the score.
        blur_sigma: Standard deviation of the Gaussian blur, in pixels.
        blur_border: ``"symmetric"`` or ``"reflect"``, as in ``numpy.pad``.

    Attributes:
        tiler: Set by anomalib's ``TilerConfigurationCallback``: images are then cut into tiles, each tile goes through
            the model alone, and the tiles' maps are put together.

    Raises:
        ValueError: If an argument is out of range; see the components.
    """

    def __init__(
        self,
        backbone: str,
        layers: Sequence[str] | None = None,
        pre_trained: bool | str | Path = True,
        bottleneck: BottleneckType = "mff_oce",
        anomaly_map_mode: AnomalyMapMode = "add",
        score: ScoreType = "max",
        blur_sigma: float = 4.0,
        blur_border: BlurBorder = "symmetric",
    ) -> None:
        super().__init__()
        self.tiler: Tiler | None = None
        self.teacher = Teacher(backbone, layers, pre_trained, with_embedding=bottleneck == "none")
        self.bottleneck = build_bottleneck(bottleneck, self.teacher.pyramid)
        self.student = Student(self.teacher.pyramid)
        self.anomaly_map_generator = AnomalyMapGenerator(anomaly_map_mode, blur_sigma, blur_border)
        self.image_score = ImageScore(score)

    def distill(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the features of teacher and student for ``images`` of shape ``(N, 3, H, W)``.

        Returns:
            Two lists of features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.
        """
        features = self.teacher(images)
        targets = features[: len(self.teacher.pyramid.distilled)]
        student = self.student(self.bottleneck(features), [target.shape[-2:] for target in targets])
        return targets, student

    def deviations(self, images: Tensor) -> list[Tensor]:
        """Return one minus the cosine for each scale, of shapes ``(N, H_l, W_l)``, fine to coarse."""
        return [cosine_deviation(t, s) for t, s in zip(*self.distill(images), strict=True)]

    def scale_maps(self, images: Tensor) -> list[Tensor]:
        """Return each scale's own map before the blur, of shape ``(N, 1, H, W)``, fine to coarse."""
        return self.anomaly_map_generator.scale_maps(self.deviations(images), images.shape[-2:])

    def forward(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]] | InferenceBatch:
        """Return features in training and predictions in evaluation.

        Args:
            images: Normalized images of shape ``(N, 3, H, W)``, of any size from the coarsest stride on.

        Returns:
            In training mode the features of teacher and student, of tiles if there is a tiler; in evaluation mode
            anomaly maps of shape ``(N, 1, H, W)`` and scores of shape ``(N, 1)``.
        """
        if self.tiler is not None:
            images = self.tiler.tile(images)
        if self.training:
            return self.distill(images)
        anomaly_map = self.anomaly_map_generator(self.deviations(images), images.shape[-2:])
        if self.tiler is not None:
            anomaly_map = self.tiler.untile(anomaly_map)
        return InferenceBatch(pred_score=self.image_score(anomaly_map), anomaly_map=anomaly_map)
