# SPDX-License-Identifier: Apache-2.0
"""Interpolation and Gaussian blur along one axis, as one matrix."""

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

__all__ = ["BlurBorder", "ResamplingTerms", "resampling_matrix", "resampling_terms"]

BlurBorder = Literal["symmetric", "reflect"]

# SciPy's default, which the authors' program uses: the kernel ends at four standard deviations.
_TRUNCATE = 4.0


class ResamplingTerms(NamedTuple):
    """What a resampling matrix is computed from.

    Pixel ``i`` lies at ``pixels[i] * steps[k]`` on the grid of column ``k``, whose value ``positions[k]`` reaches it
    with the weight ``max(0, 1 - distance)``; weights are then blurred along ``i`` by the kernel.

    Attributes:
        pixels: The pixels, and beyond both ends those that the blur sees there, of shape ``(target + 2 r,)``.
        steps: Distance between two pixels on the grid of each column, of shape ``(sum(sources),)``.
        positions: Each column's place on its grid, of the same shape.
        kernel: The blur's kernel, of shape ``(2 r + 1,)``.
    """

    pixels: np.ndarray
    steps: np.ndarray
    positions: np.ndarray
    kernel: np.ndarray


def resampling_terms(sources: tuple[int, ...], target: int, sigma: float, border: BlurBorder) -> ResamplingTerms:
    """Return the terms of :func:`resampling_matrix`, whose arguments these are, in double precision."""
    radius = int(_TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2) if sigma > 0 else np.ones(1)
    return ResamplingTerms(
        np.pad(np.arange(target, dtype=np.float64), radius, mode=border),
        np.concatenate([np.full(source, (source - 1) / max(target - 1, 1)) for source in sources]),
        np.concatenate([np.arange(source, dtype=np.float64) for source in sources]),
        kernel / kernel.sum(),
    )


@lru_cache(maxsize=256)
def resampling_matrix(sources: tuple[int, ...], target: int, sigma: float, border: BlurBorder) -> np.ndarray:
    """Matrix that interpolates one or more grids along one axis, corners aligned, blurs and adds them.

    All steps are linear, and along two axes separable, so one matrix for each axis does them exactly.

    Args:
        sources: Length of each grid.
        target: Length of the result, in pixels.
        sigma: Standard deviation of the blur, in pixels; 0 for none.
        border: What the blur sees beyond the border, in numpy's words.

    Returns:
        Matrix of shape ``(target, sum(sources))`` in float32.

    Example:
        >>> resampling_matrix((2,), 3, 0.0, "symmetric").tolist()
        [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    """
    terms = resampling_terms(sources, target, sigma, border)
    weights = np.clip(1 - np.abs(terms.pixels[:, None] * terms.steps - terms.positions), 0, None)
    windows = np.lib.stride_tricks.sliding_window_view(weights, len(terms.kernel), axis=0)
    return (windows @ terms.kernel).astype(np.float32)
