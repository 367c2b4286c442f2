# SPDX-License-Identifier: Apache-2.0
"""Which part of an image a model sees, where its pre-processor crops, and what it marks brought back to the whole."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from anomalib.data.transforms import ExportableCenterCrop
from torchvision.transforms.v2 import CenterCrop, Compose, Resize

__all__ = ["crop_steps", "on_whole_image"]


def crop_steps(transform: object) -> list[list[Any]]:
    """Describe a transform that crops, as plain data.

    Args:
        transform: A transform of torchvision's, or ``None``.

    Returns:
        Its resizes and centre crops in order, each with its size as torchvision takes it, and for a resize the limit of
        the longer side; empty if it does not crop.

    Example:
        >>> crop_steps(Compose([Resize(288), CenterCrop((256, 224))]))
        [['resize', [288], None], ['crop', [256, 224]]]
        >>> crop_steps(Resize((256, 256)))
        []
    """
    steps = _steps(transform)
    return steps if any(name == "crop" for name, *_ in steps) else []


def _steps(transform: object) -> list[list[Any]]:
    if isinstance(transform, Compose):
        return [step for part in transform.transforms for step in _steps(part)]
    if isinstance(transform, Resize) and transform.size is not None:
        return [["resize", list(transform.size), transform.max_size]]
    if isinstance(transform, CenterCrop | ExportableCenterCrop):
        return [["crop", list(transform.size)]]
    return []


def on_whole_image(plane: np.ndarray, size: tuple[int, int], steps: Sequence[Sequence[Any]]) -> np.ndarray:
    """Surround what a model says of the part that it sees by zeros, up to the edges of the image.

    Args:
        plane: An anomaly map or a mask, of shape ``(h, w)``.
        size: Height and width of the image, in pixels.
        steps: What :func:`crop_steps` returned.

    Returns:
        The same at the same scale, of the whole image; ``plane`` itself where nothing was cropped.

    Example:
        >>> on_whole_image(np.ones((2, 2)), (4, 6), [["crop", [2, 2]]])
        array([[0., 0., 0., 0., 0., 0.],
               [0., 0., 1., 1., 0., 0.],
               [0., 0., 1., 1., 0., 0.],
               [0., 0., 0., 0., 0., 0.]])
    """
    if not steps:
        return plane
    # What is left of the image, the whole of it at that scale, and where in the whole what is left begins.
    left, whole, first = [np.array(sides, dtype=float) for sides in (size, size, (0, 0))]
    for name, target, *limit in steps:
        if name == "resize":
            scale = _resized(left, target, *limit) / left
            left, whole, first = left * scale, whole * scale, first * scale
        else:
            first += [_cut(side, wanted) for side, wanted in zip(left, target, strict=True)]
            left = np.array(target, dtype=float)
    scale = plane.shape / left
    height, width = np.rint(whole * scale).astype(int)
    top, start = np.rint(first * scale).astype(int)
    surrounded = np.zeros((height, width), plane.dtype)
    # A crop that is larger than the image has added what is not of it.
    inside = plane[max(0, -top) :, max(0, -start) :][: height - max(0, top), : width - max(0, start)]
    top, start = max(0, top), max(0, start)
    surrounded[top : top + inside.shape[0], start : start + inside.shape[1]] = inside
    return surrounded


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
