# SPDX-License-Identifier: Apache-2.0
"""The scale of normalized scores: linear up to the threshold, 0.5, and bent above it, so that 1 is never reached."""

import torch
from torch import Tensor

__all__ = ["bend"]


def bend(linear: Tensor) -> Tensor:
    """Return normalized scores for scores on a linear scale with the threshold at 0.5.

    Below the threshold a score does not change, except that it is at least 0. Above it, it is ``1 - 1 / (4 x)``: value
    and slope continue, and two different scores stay different. anomalib clips at 1 instead, which is 0.75 here. The
    inverse is :func:`~rd_plugin.results.straighten`.

    Args:
        linear: Scores of any shape.

    Returns:
        Scores in [0, 1), in the same order, except that all below 0 are 0.

    Example:
        >>> bend(torch.tensor([-1.0, 0.25, 0.5, 1.0, 2.5, 25.0]))
        tensor([0.0000, 0.2500, 0.5000, 0.7500, 0.9000, 0.9900])
    """
    return torch.where(linear > 0.5, 1 - 0.25 / linear.clamp_min(0.5), linear.clamp_min(0.0))
