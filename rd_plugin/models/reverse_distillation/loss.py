# SPDX-License-Identifier: Apache-2.0
"""Cosine losses between teacher and student features."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from rd_plugin.components.cosine import cosine_deviation, flattened_deviation

__all__ = ["CosineLoss", "LossType"]

LossType = Literal["flattened", "per_pixel"]


class CosineLoss(nn.Module):
    r"""Sum over the scales of one minus the cosine between teacher and student features.

    Args:
        kind: ``"flattened"``: the cosine runs over a sample's whole feature map, as in the authors' program and the
            published figures. ``"per_pixel"``: it runs over the channels at each position and is averaged over
            positions, as in the paper's equations 1 and 2.

    Raises:
        ValueError: If ``kind`` is neither.

    Example:
        >>> import torch
        >>> features = [torch.ones(2, 4, 8, 8), torch.ones(2, 8, 4, 4)]
        >>> float(CosineLoss()(features, [-feature for feature in features]))
        4.0
    """

    def __init__(self, kind: LossType = "flattened") -> None:
        super().__init__()
        if kind not in {"flattened", "per_pixel"}:
            msg = f"loss must be 'flattened' or 'per_pixel', got {kind!r}."
            raise ValueError(msg)
        self.kind = kind

    def scales(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> list[Tensor]:
        """Return the loss of each scale, fine to coarse; arguments as in :meth:`forward`."""
        deviation = cosine_deviation if self.kind == "per_pixel" else flattened_deviation
        return [deviation(t, s).mean() for t, s in zip(teacher, student, strict=True)]

    def forward(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
        """Return the loss.

        Args:
            teacher: Features of shapes ``(N, C_l, H_l, W_l)``, one for each scale.
            student: Features of the same shapes.

        Returns:
            Scalar from 0 (same direction everywhere) to twice the number of scales.
        """
        return sum(self.scales(teacher, student), start=teacher[0].new_zeros(()))
