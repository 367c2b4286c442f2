# SPDX-License-Identifier: Apache-2.0
"""Map a model's outputs back to the whole image if its pre-processor crops or pads."""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["on_whole_image"]


def on_whole_image(plane: np.ndarray, size: tuple[int, int], steps: Sequence[Sequence[Any]]) -> np.ndarray | None:
    """Map a model's output back to the whole image.

    Cropped parts are filled with zeros, and paddings are cut off.

    Args:
        plane: An anomaly map or a mask, of shape ``(h, w)``.
        size: Height and width of the image, in pixels.
        steps: What :func:`~rd_plugin.data.crop_steps.crop_steps` returned.

    Returns:
        The same at the same scale, of the whole image; ``plane`` itself where nothing was cropped or padded, and
        ``None`` where the geometry is not known.

    Example:
        >>> on_whole_image(np.ones((2, 2)), (4, 6), [["crop", [2, 2]]])
        array([[0., 0., 0., 0., 0., 0.],
               [0., 0., 1., 1., 0., 0.],
               [0., 0., 1., 1., 0., 0.],
               [0., 0., 0., 0., 0., 0.]])
    """
    if not steps:
        return plane
    if any(name == "unknown" for name, *_ in steps):
        return None
    # What is left of the image, the whole of it at that scale, and where in the whole what is left begins.
    left, whole, first = [np.array(sides, dtype=float) for sides in (size, size, (0, 0))]
    for name, *arguments in steps:
        if name == "resize":
            scale = _resized(left, *arguments) / left
            left, whole, first = left * scale, whole * scale, first * scale
        elif name == "crop":
            first += [_cut(side, wanted) for side, wanted in zip(left, arguments[0], strict=True)]
            left = np.array(arguments[0], dtype=float)
        else:
            before, after = _padded(left, *arguments)
            first, left = first - before, left + before + after
    scale = plane.shape / left
    height, width = np.rint(whole * scale).astype(int)
    top, start = np.rint(first * scale).astype(int)
    surrounded = np.zeros((height, width), plane.dtype)
    # A crop that is larger than the image has added what is not of it.
    inside = plane[max(0, -top) :, max(0, -start) :][: height - max(0, top), : width - max(0, start)]
    top, start = max(0, top), max(0, start)
    surrounded[top : top + inside.shape[0], start : start + inside.shape[1]] = inside
    return surrounded


def _padded(sides: np.ndarray, padding: Sequence[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """How many rows and columns a padding adds before and after; one to a square if it is not given."""
    if padding is None:
        missing = (sides.max() - sides).round()
        return missing // 2, missing - missing // 2
    left, top, right, bottom = padding
    return np.array([top, left], dtype=float), np.array([bottom, right], dtype=float)


def _resized(sides: np.ndarray, size: Sequence[int], limit: int | None = None) -> np.ndarray:
    """Height and width that torchvision's resize gives."""
    if len(size) == 2:
        return np.array(size, dtype=float)
    short, long = size[0], int(size[0] * sides.max() / sides.min())
    if limit is not None and long > limit:
        short, long = int(limit * short / long), limit
    return np.array((short, long) if sides[0] <= sides[1] else (long, short), dtype=float)


def _cut(side: float, wanted: int) -> int:
    """How many pixels torchvision's centre crop takes off in front; negative if it adds some."""
    surplus = round(side) - wanted
    return round(surplus / 2) if surplus >= 0 else -(-surplus // 2)
