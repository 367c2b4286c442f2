# SPDX-License-Identifier: Apache-2.0
"""Cosine losses between teacher and student features."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from rd_plugin.components.cosine import cosine_deviation, flattened_deviation, mean_inside

from .hard_mining import MiningType, hold_back

__all__ = ["CosineLoss", "LossType"]

LossType = Literal["flattened", "per_pixel"]


class CosineLoss(nn.Module):
    r"""Sum or mean over the scales of one minus the cosine between teacher and student features.

    Args:
        kind: ``"flattened"``: the cosine runs over a sample's whole feature map, as in the authors' program and the
            published figures. ``"per_pixel"``: it runs over the channels at each position and is averaged over
            positions, as in the paper's equations 1 and 2.
        mining: Whether and how the gradient is reduced where the student is already good; see
            :mod:`~rd_plugin.models.reverse_distillation.hard_mining`.
        mean: Whether the mean over the scales is taken (Guo et al., CVPR 2025) or the sum.

    Raises:
        ValueError: If ``kind`` or ``mining`` is none of these.

    Example:
        >>> import torch
        >>> features = [torch.ones(2, 4, 8, 8), torch.ones(2, 8, 4, 4)]
        >>> float(CosineLoss()(features, [-feature for feature in features]))
        4.0
    """

    def __init__(self, kind: LossType = "flattened", mining: MiningType = "off", mean: bool = False) -> None:
        super().__init__()
        if kind not in {"flattened", "per_pixel"}:
            msg = f"loss must be 'flattened' or 'per_pixel', got {kind!r}."
            raise ValueError(msg)
        if mining not in {"off", "share", "deviation"}:
            msg = f"hard_mining must be 'off', 'share' or 'deviation', got {mining!r}."
            raise ValueError(msg)
        self.kind = kind
        self.mining: MiningType = mining
        self.mean = mean

    def scales(
        self, teacher: Sequence[Tensor], student: Sequence[Tensor], step: int = 0, steps: float = 1
    ) -> list[Tensor]:
        """Return the share of each scale in the loss, fine to coarse; arguments as in :meth:`forward`."""
        divisor = len(student) if self.mean else 1
        losses = []
        for t, s in zip(teacher, student, strict=True):
            hold_back(t, s, self.mining, step, steps)
            per_pixel = self.kind == "per_pixel"
            loss = mean_inside(cosine_deviation(t, s), t) if per_pixel else flattened_deviation(t, s).mean()
            losses.append(loss / divisor)
        return losses

    def forward(self, teacher: Sequence[Tensor], student: Sequence[Tensor], step: int = 0, steps: float = 1) -> Tensor:
        """Return the loss.

        Args:
            teacher: Features of shapes ``(N, C_l, H_l, W_l)``, one for each scale.
            student: Features of the same shapes.
            step: Steps made so far, for the mining.
            steps: Steps of the training, likewise.

        Returns:
            Scalar from 0 (same direction everywhere) to twice the number of scales, or to 2 for their mean.
        """
        return sum(self.scales(teacher, student, step, steps), start=teacher[0].new_zeros(()))
