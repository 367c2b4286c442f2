# SPDX-License-Identifier: Apache-2.0
"""RD++ as a torch module (Tien et al., CVPR 2023)."""

import torch
from torch import Tensor, nn

from rd_plugin.components import Teacher
from rd_plugin.models.reverse_distillation import ReverseDistillationModel

from .projection import ProjectedBottleneck

__all__ = ["RevisitedReverseDistillationModel"]


class RevisitedReverseDistillationModel(ReverseDistillationModel):
    """A frozen teacher, projections of its features, a bottleneck, and a student.

    Args:
        *network: ``backbone``, ``layers``, ``pre_trained`` and ``bottleneck`` of
            :class:`~rd_plugin.models.reverse_distillation.ReverseDistillationModel`; of the bottlenecks all but
            ``"none"``, which takes no projected features. Of ``"oce"`` only the coarsest scale is projected.
        **arguments: Its other arguments.

    Raises:
        ValueError: If an argument is out of range; see the components.
    """

    bottleneck: ProjectedBottleneck

    @staticmethod
    def with_projection(bottleneck: nn.Module, kind: str, teacher: Teacher) -> nn.Module:
        """Return the bottleneck with a projection for each scale that it takes.

        Raises:
            ValueError: If it takes none.
        """
        if kind == "none":
            msg = "bottleneck must be 'mff_oce' or 'oce', which take projected features, got 'none'."
            raise ValueError(msg)
        channels = [target.channels for target in teacher.pyramid.targets]
        return ProjectedBottleneck(channels[-1:] if kind == "oce" else channels, bottleneck, len(channels))

    def distill_twins(
        self, features: list[Tensor], twins: Tensor
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """Return the features for both losses; only the projection gets the twins.

        Args:
            features: The teacher's features for images, of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.
            twins: The same images with noise, of shape ``(N, 3, H, W)``.

        Returns:
            What the student is compared with, and the student's features, for the images; then, for the scales that are
            projected, the projected features of images and of twins, and the teacher's of twins.
        """
        with torch.no_grad():
            features_of_twins = self.teacher(twins)
        projected, projected_twins = self.bottleneck.project(features), self.bottleneck.project(features_of_twins)
        targets, student = self.targets(features), self.student_of(self.bottleneck.embed(projected, features), features)
        noisy = self.bottleneck.projectable(features_of_twins)
        first, second, third, fourth, fifth = map(
            self.features_within_roi, (targets, student, projected, projected_twins, noisy)
        )
        return first, second, third, fourth, fifth
