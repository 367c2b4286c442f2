# SPDX-License-Identifier: Apache-2.0
"""Hard mining on the gradient: positions that the student already reconstructs well contribute little or nothing."""

from typing import Literal

import torch
from torch import Tensor

from rd_plugin.components import cosine_deviation

__all__ = ["MiningType", "gradient_factors", "hold_back"]

MiningType = Literal["off", "share", "deviation"]

# Dinomaly: nine tenths of the positions, reached over 1,000 steps, with a tenth of their gradient.
_SHARE, _SHARE_STEPS, _SHARE_FACTOR = 0.9, 1000, 0.1
# ReContrast: positions below the mean plus this many standard deviations, reached over a tenth of the training.
_FROM, _TO, _RAMP = -3.0, 1.0, 0.1


def gradient_factors(
    deviations: Tensor, kind: MiningType, step: int, steps: float, inside: Tensor | None = None
) -> Tensor:
    """Return the factor of the gradient at each position.

    Args:
        deviations: One minus the cosine at each position of a batch, of shape ``(N, H, W)``.
        kind: ``"share"``: all but the highest share of the batch get a tenth (Guo et al., CVPR 2025, equation 5).
            ``"deviation"``: those below the mean plus a number of standard deviations get nothing (Guo et al., NeurIPS
            2023).
        step: Steps made so far; few gradients are reduced at first.
        steps: Steps of the training.
        inside: Which positions count, booleans of shape ``(N, H, W)``; by default all.

    Returns:
        Factors of the same shape, in [0, 1].

    Example:
        >>> gradient_factors(torch.tensor([[[0.1, 0.2], [0.3, 0.4]]]), "share", 500, 5000)
        tensor([[[0.1000, 0.1000],
                 [1.0000, 1.0000]]])
    """
    counted = deviations.flatten() if inside is None else deviations[inside]
    if kind == "share":
        share = min(_SHARE * step / _SHARE_STEPS, _SHARE)
        count = max(1, int(counted.numel() * (1 - share)))
        threshold = counted.topk(count).values[-1]
        return torch.where(deviations < threshold, _SHARE_FACTOR, 1.0)
    number = min(_FROM + (_TO - _FROM) * step / max(_RAMP * steps, 1), _TO)
    threshold = counted.mean() + number * counted.std()
    return torch.where(deviations < threshold, 0.0, 1.0)


def hold_back(teacher: Tensor, student: Tensor, kind: MiningType, step: int, steps: float) -> None:
    """Scale the gradient that reaches the student's features; the loss stays as it is.

    Args:
        teacher: Features of shape ``(N, C, H, W)``.
        student: Features of the same shape.
        kind: As in :func:`gradient_factors`, or ``"off"``.
        step: Steps made so far.
        steps: Steps of the training.
    """
    if kind == "off" or not student.requires_grad:
        return
    with torch.no_grad():
        # Outside the region of interest features are zero.
        inside = teacher.any(1)
        factors = gradient_factors(cosine_deviation(teacher, student), kind, step, steps, inside).unsqueeze(1)
    student.register_hook(lambda gradient: gradient * factors.to(gradient.dtype))
