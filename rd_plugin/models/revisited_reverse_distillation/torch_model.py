# SPDX-License-Identifier: Apache-2.0
"""RD++ as a torch module (Tien et al., CVPR 2023)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from rd_plugin.components import Student, Teacher, build_bottleneck, is_plain_vit
from rd_plugin.models.distillation import DistillationModel

from .projection import ProjectedBottleneck

__all__ = ["ProjectedBottleneckType", "RevisitedReverseDistillationModel"]

ProjectedBottleneckType = Literal["mff_oce", "oce"]


class RevisitedReverseDistillationModel(DistillationModel):
    """A frozen teacher, projections of its features, a bottleneck, and a student.

    Args:
        backbone: Name of a timm model that supports ``features_only``.
        layers: Names of the stages to distil, or ``None`` for those of strides 4, 8 and 16.
        pre_trained: ``True`` for timm's weights, ``False`` for random ones, or a file or package with weights.
        bottleneck: ``"mff_oce"`` or ``"oce"``, of which only the coarsest scale is projected.
        **map_arguments: Further arguments of :class:`~rd_plugin.models.distillation.DistillationModel`.

    Raises:
        ValueError: If an argument is out of range; see the components.
    """

    bottleneck: ProjectedBottleneck

    def __init__(
        self,
        backbone: str,
        layers: Sequence[str] | None = None,
        pre_trained: bool | str | Path = True,
        bottleneck: ProjectedBottleneckType = "mff_oce",
        **map_arguments: Any,
    ) -> None:
        if bottleneck not in {"mff_oce", "oce"}:
            msg = f"bottleneck must be 'mff_oce' or 'oce', which take projected features, got {bottleneck!r}."
            raise ValueError(msg)
        if is_plain_vit(backbone):
            msg = (
                f"backbone {backbone!r} is a plain vision transformer, whose blocks have one stride: RD++ "
                "projects scales of several. Choose a backbone with a feature pyramid, or ReverseDistillation or "
                "FusedReverseDistillation."
            )
            raise ValueError(msg)
        teacher = Teacher(backbone, layers, pre_trained)
        channels = [target.channels for target in teacher.pyramid.targets]
        projected = channels if bottleneck == "mff_oce" else channels[-1:]
        super().__init__(
            teacher,
            ProjectedBottleneck(projected, build_bottleneck(bottleneck, teacher.pyramid)),
            Student(teacher.pyramid),
            **map_arguments,
        )

    def distill_twins(
        self, teacher: list[Tensor], twins: Tensor
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """Return the features for both losses; only the projection sees the twins.

        Args:
            teacher: The teacher's features for images, of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.
            twins: The same images with noise, of shape ``(N, 3, H, W)``.

        Returns:
            The student's features for the images; then, for the scales that are projected, the projected features of
            images and of twins, and the teacher's of twins.
        """
        with torch.no_grad():
            teacher_twins = self.teacher(twins)
        projected, projected_twins = self.bottleneck.project(teacher), self.bottleneck.project(teacher_twins)
        student = self.student(self.bottleneck.bottleneck(projected), teacher)
        features = student, projected, projected_twins, teacher_twins[-len(projected) :]
        first, second, third, fourth = map(self.features_within_roi, features)
        return first, second, third, fourth
