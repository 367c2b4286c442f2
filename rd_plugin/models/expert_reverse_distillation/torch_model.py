# SPDX-License-Identifier: Apache-2.0
"""RD with Expert as a torch module (Liu, Wang, Leng and Zhang, AAAI 2025)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rd_plugin.components import (
    NoisyBottleneck,
    Student,
    Teacher,
    TokenStudent,
    ViTTeacher,
    build_bottleneck,
    build_teacher,
)
from rd_plugin.models.distillation import DistillationModel

from .injection import InjectionType, injection_builder

__all__ = ["ExpertReverseDistillationModel"]


class ExpertReverseDistillationModel(DistillationModel):
    """A teacher that an expert trains, a bottleneck, and a student into which teacher features are injected.

    The expert is not part of the model: only training needs it, and the Lightning module holds it.

    Args:
        backbone: Name of a timm model: one with a feature pyramid, or a plain vision transformer.
        layers: Names of the stages to distil, or ``None`` for those of strides 4, 8 and 16, or a ViT's middle blocks.
        pre_trained: ``True`` for timm's weights, ``False`` for random ones, or a file or package with weights.
        injection: ``"guided"``, ``"unguided"`` or ``"none"``; by default the first, or for a ViT, which has no scales
            to take it from, the last.
        train_teacher: Whether the teacher is trained; otherwise it is frozen.
        dropout: For a ViT: probability of dropout in the bottleneck.
        student_depth: For a ViT: number of the student's blocks.
        **map_arguments: ``deviation``, ``anomaly_map_mode``, ``score``, ``blur_sigma``, ``blur_border``, ``tile_size``
            and ``tile_overlap`` of :class:`~rd_plugin.models.distillation.DistillationModel`.

    Attributes:
        injection: What is injected.

    Raises:
        ValueError: If an argument is out of range; see the components.
    """

    def __init__(
        self,
        backbone: str,
        layers: Sequence[str] | None = None,
        pre_trained: bool | str | Path = True,
        injection: InjectionType | None = None,
        train_teacher: bool = True,
        dropout: float = 0.2,
        student_depth: int = 8,
        **map_arguments: Any,
    ) -> None:
        teacher = build_teacher(backbone, layers, pre_trained, trainable=train_teacher)
        parts: tuple[Any, Any]
        if isinstance(teacher, ViTTeacher):
            if injection not in {None, "none"}:
                msg = (
                    f"injection {injection!r} takes the teacher's next finer scale, and all blocks of backbone "
                    f"{backbone!r}, a plain vision transformer, have one stride: leave it out, or give 'none'."
                )
                raise ValueError(msg)
            injection, channels = "none", teacher.pyramid.embedding.channels
            parts = (
                NoisyBottleneck(channels, teacher.groups, dropout),
                TokenStudent(channels, teacher.heads, student_depth, len(teacher.groups)),
            )
        else:
            injection = injection or "guided"
            student = Student(teacher.pyramid, injection_builder(injection))
            parts = (build_bottleneck("mff_oce", teacher.pyramid), student)
        super().__init__(teacher, *parts, **map_arguments)
        self.injection: InjectionType = injection

    def teach(self, images: Tensor, twins: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the teacher's features in training mode, with gradient, for images and twins ``(N, 3, H, W)``.

        Returns:
            Two lists of features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.
        """
        with self.teacher.training_mode():
            return self.targets_within_roi(self.teacher(images)), self.targets_within_roi(self.teacher(twins))

    def targets_within_roi(self, features: list[Tensor]) -> list[Tensor]:
        """Return what losses compare, from all features of teacher or expert, with 0 outside the region of interest."""
        return self.features_within_roi(self.targets(features))

    def distill_twins(
        self,
        images: Tensor,
        twins: Tensor,
        known: list[Tensor] | None = None,
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return the features for the student's loss, those of the teacher without gradient.

        Args:
            images: Normalized images of shape ``(N, 3, H, W)``.
            twins: The same images with synthetic anomalies.
            known: The teacher's features for the images, if they have been computed.

        Returns:
            Features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse: the teacher's for the images, the student's for
            the images and the student's for the twins.
        """
        with torch.no_grad():
            if known is None:
                teacher, teacher_twins = features_of_both(self.teacher, images, twins)
            else:
                teacher, teacher_twins = known, self.teacher(twins)
        features = self.targets(teacher), self.reconstruct(teacher), self.reconstruct(teacher_twins)
        first, second, third = map(self.features_within_roi, features)
        return first, second, third


def features_of_both(teacher: Teacher, images: Tensor, twins: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return a network's features for images and for their twins, from one pass over both.

    Args:
        teacher: Teacher or expert, in evaluation mode.
        images: Images of shape ``(N, 3, H, W)``.
        twins: Images of the same shape.

    Returns:
        Two lists of features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.
    """
    halves = [feature.chunk(2) for feature in teacher(torch.cat([images, twins]))]
    return [first for first, _ in halves], [second for _, second in halves]
