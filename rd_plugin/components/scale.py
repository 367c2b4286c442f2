# SPDX-License-Identifier: Apache-2.0
"""The scale of normalized scores: linear up to the threshold, 0.5, and bent above it, so that 1 is never reached."""

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

__all__ = ["bend", "straighten"]

Values = TypeVar("Values", float, np.ndarray)


def bend(linear: Tensor) -> Tensor:
    """Return normalized scores for scores on a linear scale with the threshold at 0.5.

    Below the threshold a score stays as it is, at least 0. Above it, it is ``1 - 1 / (4 x)``: value and slope continue,
    and two scores never become one. anomalib cuts off at 1 instead, which is 0.75 here.

    Args:
        linear: Scores of any shape.

    Returns:
        Scores in [0, 1), in the same order, except that all below 0 are 0.

    Example:
        >>> bend(torch.tensor([-1.0, 0.25, 0.5, 1.0, 2.5, 25.0]))
        tensor([0.0000, 0.2500, 0.5000, 0.7500, 0.9000, 0.9900])
    """
    return torch.where(linear > 0.5, 1 - 0.25 / linear.clamp_min(0.5), linear.clamp_min(0.0))


def straighten(scores: Values) -> Values:
    """Return scores on the linear scale for normalized ones; the inverse of :func:`bend`.

    Args:
        scores: Normalized scores in [0, 1].

    Returns:
        Linear ones; infinite for a score of 1.

    Example:
        >>> straighten(np.array([0.25, 0.5, 0.75, 0.9])).round(6).tolist()
        [0.25, 0.5, 1.0, 2.5]
    """
    with np.errstate(divide="ignore"):
        linear = np.where(np.asarray(scores) > 0.5, 0.25 / (1 - np.asarray(scores, dtype=float)), scores)
    return float(linear) if np.ndim(scores) == 0 else linear  # type: ignore[return-value]
