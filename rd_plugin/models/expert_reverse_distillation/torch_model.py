# SPDX-License-Identifier: Apache-2.0
"""RD with Expert as a torch module (Liu, Wang, Leng and Zhang, AAAI 2025)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rd_plugin.components import Student, Teacher, build_bottleneck, is_plain_vit
from rd_plugin.models.distillation import DistillationModel

from .injection import InjectionType, injection_builder

__all__ = ["ExpertReverseDistillationModel"]


class ExpertReverseDistillationModel(DistillationModel):
    """A teacher that an expert trains, a bottleneck, and a student into which teacher features are injected.

    The expert is not part of the model: only training needs it, and the Lightning module holds it.

    Args:
        backbone: Name of a timm model that supports ``features_only``.
        layers: Names of the stages to distil, or ``None`` for those of strides 4, 8 and 16.
        pre_trained: ``True`` for timm's weights, ``False`` for random ones, or a file or package with weights.
        injection: ``"guided"``, ``"unguided"`` or ``"none"``.
        train_teacher: Whether the teacher is trained; otherwise it is frozen.
        **map_arguments: ``deviation``, ``anomaly_map_mode``, ``score``, ``blur_sigma``, ``blur_border``, ``tile_size``
            and ``tile_overlap`` of :class:`~rd_plugin.models.distillation.DistillationModel`.

    Raises:
        ValueError: If an argument is out of range; see the components.
    """

    def __init__(
        self,
        backbone: str,
        layers: Sequence[str] | None = None,
        pre_trained: bool | str | Path = True,
        injection: InjectionType = "guided",
        train_teacher: bool = True,
        **map_arguments: Any,
    ) -> None:
        if is_plain_vit(backbone):
            msg = (
                f"backbone {backbone!r} is a plain vision transformer, whose blocks have one stride: RD with Expert "
                "joins scales of several. Choose a backbone with a feature pyramid, or ReverseDistillation or "
                "FusedReverseDistillation."
            )
            raise ValueError(msg)
        teacher = Teacher(backbone, layers, pre_trained, trainable=train_teacher)
        super().__init__(
            teacher,
            build_bottleneck("mff_oce", teacher.pyramid),
            Student(teacher.pyramid, injection_builder(injection)),
            **map_arguments,
        )

    def teach(self, images: Tensor, twins: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the teacher's features in training mode, with gradient, for images and twins ``(N, 3, H, W)``.

        Returns:
            Two lists of features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.
        """
        with self.teacher.training_mode():
            return self.features_within_roi(self.teacher(images)), self.features_within_roi(self.teacher(twins))

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
        features = teacher, self.reconstruct(teacher), self.reconstruct(teacher_twins)
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
