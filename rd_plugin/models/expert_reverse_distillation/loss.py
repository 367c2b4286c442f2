# SPDX-License-Identifier: Apache-2.0
"""Losses of the teacher, trained by the expert, and of the student (Liu et al., AAAI 2025)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from rd_plugin.components import cosine_deviation, flattened_deviation, mean_inside

__all__ = ["StudentLoss", "TeacherLoss"]

_CUT = 0.5


class TeacherLoss(nn.Module):
    """Train the teacher to agree with the expert on normal regions, and to differ on anomalies.

    At each scale, for the features of images (``T``, ``E``) and of their twins with synthetic anomalies (``T'``,
    ``E'``), and with the anomalies' mask ``M``, which is 1 on them::

        mean(1 - cos(T, E)) + mean |(1 - cos(T', E)) - M| + mean(1 - cosflat(T', E'))

    where ``cos`` runs over the channels at a position and ``cosflat`` over a sample's whole feature map. The mask is
    resized from each scale to the next, bilinearly with corners aligned, and cut at 0.5, as in the authors' program.
    """

    def scales(
        self,
        teacher: tuple[Sequence[Tensor], Sequence[Tensor]],
        expert: tuple[Sequence[Tensor], Sequence[Tensor]],
        masks: Tensor,
    ) -> list[Tensor]:
        """Return the loss of each scale, fine to coarse; arguments as in :meth:`forward`."""
        losses = []
        for image, twin, expert_image, expert_twin in zip(*teacher, *expert, strict=True):
            # From scale to scale, not from the whole mask each time: with aligned corners the result differs.
            masks = F.interpolate(masks, size=twin.shape[-2:], mode="bilinear", align_corners=True)
            masks = (masks > _CUT).to(masks)
            agreement = mean_inside(cosine_deviation(image, expert_image), expert_image)
            difference = (cosine_deviation(twin, expert_image) - masks[:, 0]).abs()
            loss = agreement + flattened_deviation(twin, expert_twin).mean() + mean_inside(difference, expert_image)
            losses.append(loss)
        return losses

    def forward(
        self,
        teacher: tuple[Sequence[Tensor], Sequence[Tensor]],
        expert: tuple[Sequence[Tensor], Sequence[Tensor]],
        masks: Tensor,
    ) -> Tensor:
        """Return the loss.

        Args:
            teacher: The teacher's features for images and for twins, of shapes ``(N, C_l, H_l, W_l)``.
            expert: The expert's, of the same shapes.
            masks: Masks of the synthetic anomalies, of shape ``(N, 1, H, W)``, 1 on them and 0 elsewhere.

        Returns:
            Scalar of at least 0.
        """
        return sum(self.scales(teacher, expert, masks), start=masks.new_zeros(()))


class StudentLoss(nn.Module):
    """Train the student to reconstruct normal features from normal and anomalous inputs.

    The sum over targets (teacher, and expert if there is one, on the images) and inputs (images, twins) of the sum over
    scales of one minus the cosine between the flattened feature maps.
    """

    def scales(self, targets: Sequence[Sequence[Tensor]], students: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Return the loss of each scale, fine to coarse; arguments as in :meth:`forward`."""
        pairs = [zip(target, student, strict=True) for target in targets for student in students]
        return [
            torch.stack([flattened_deviation(t, s).mean() for t, s in scale]).sum()
            for scale in zip(*pairs, strict=True)
        ]

    def forward(self, targets: Sequence[Sequence[Tensor]], students: Sequence[Sequence[Tensor]]) -> Tensor:
        """Return the loss.

        Args:
            targets: Features on the images, of shapes ``(N, C_l, H_l, W_l)``: the teacher's, and the expert's.
            students: The student's features, of the same shapes: on the images and on the twins.

        Returns:
            Scalar from 0 to twice the number of targets, students and scales multiplied.
        """
        return sum(self.scales(targets, students), start=targets[0][0].new_zeros(()))
