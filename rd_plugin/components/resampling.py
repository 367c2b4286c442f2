# SPDX-License-Identifier: Apache-2.0
"""Interpolation and Gaussian blur along one axis, as one matrix."""

from functools import lru_cache
from typing import Literal

import numpy as np

__all__ = ["BlurBorder", "resampling_matrix"]

BlurBorder = Literal["symmetric", "reflect"]

# SciPy's default, which the authors' program uses: the kernel ends at four standard deviations.
_TRUNCATE = 4.0


@lru_cache(maxsize=256)
def resampling_matrix(sources: tuple[int, ...], target: int, sigma: float, border: BlurBorder) -> np.ndarray:
    """Return the matrix that interpolates one or more grids along one axis, blurs and adds them.

    Corners are aligned. All steps are linear and separable, so one matrix for each axis computes them exactly.

    Args:
        sources: Length of each grid.
        target: Length of the result, in pixels.
        sigma: Standard deviation of the blur, in pixels; 0 for none.
        border: How the blur pads the border, in numpy's terms.

    Returns:
        Matrix of shape ``(target, sum(sources))`` in float32.

    Example:
        >>> resampling_matrix((2,), 3, 0.0, "symmetric").tolist()
        [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    """
    radius = int(_TRUNCATE * sigma + 0.5)
    # The pixels, and those of the padding at both ends.
    pixels = np.pad(np.arange(target, dtype=np.float64), radius, mode=border)
    # The position of each column on its grid, and the distance between two pixels there.
    positions = np.concatenate([np.arange(source, dtype=np.float64) for source in sources])
    steps = np.concatenate([np.full(source, (source - 1) / max(target - 1, 1)) for source in sources])
    weights = np.clip(1 - np.abs(pixels[:, None] * steps - positions), 0, None)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2) if sigma > 0 else np.ones(1)
    windows = np.lib.stride_tricks.sliding_window_view(weights, len(kernel), axis=0)
    return (windows @ (kernel / kernel.sum())).astype(np.float32)
