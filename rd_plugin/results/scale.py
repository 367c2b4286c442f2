# SPDX-License-Identifier: Apache-2.0
"""Normalized scores on a linear scale."""

from typing import TypeVar

import numpy as np

__all__ = ["straighten"]

Values = TypeVar("Values", float, np.ndarray)


def straighten(scores: Values) -> Values:
    """Return scores on the linear scale for normalized ones; the inverse of ``rd_plugin.components.scale.bend``.

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
