# SPDX-License-Identifier: Apache-2.0
"""Map a model's outputs back to the whole image if its pre-processor crops or pads."""

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from anomalib.data.transforms import ExportableCenterCrop
from anomalib.data.transforms.square_pad import SquarePad
from torch.nn import Sequential
from torchvision.transforms import v2
from torchvision.transforms.v2 import CenterCrop, Compose, Pad, Resize

__all__ = ["crop_steps", "on_whole_image"]

logger = logging.getLogger(__name__)

# Transforms that change values and move no pixel.
_IN_PLACE = (
    v2.Normalize,
    v2.ToDtype,
    v2.ToImage,
    v2.ToPureTensor,
    v2.Identity,
    v2.Grayscale,
    v2.RGB,
    v2.ColorJitter,
    v2.GaussianBlur,
    v2.GaussianNoise,
)


def crop_steps(transform: object) -> list[list[Any]]:
    """Describe a transform that crops, as plain data.

    Args:
        transform: A transform of torchvision's, or ``None``.

    Returns:
        Its resizes, centre crops and paddings in order: a resize or crop with its size as torchvision takes it, and for
        a resize the limit of the longer side; a padding by its left, top, right and bottom, or to a square. Empty if it
        does neither crop nor pad. A step whose geometry is not known is ``["unknown", name]``, with a warning.

    Example:
        >>> crop_steps(Compose([Resize(288), CenterCrop((256, 224))]))
        [['resize', [288], None], ['crop', [256, 224]]]
        >>> crop_steps(Resize((256, 256)))
        []
    """
    steps = _steps(transform)
    return steps if any(name != "resize" for name, *_ in steps) else []


def _steps(transform: object) -> list[list[Any]]:
    if isinstance(transform, Compose | Sequential):
        transforms = transform.transforms if isinstance(transform, Compose) else transform
        return [step for part in transforms for step in _steps(part)]
    if isinstance(transform, Resize) and transform.size is not None:
        return [["resize", list(transform.size), transform.max_size]]
    if isinstance(transform, CenterCrop | ExportableCenterCrop):
        return [["crop", list(transform.size)]]
    if isinstance(transform, Pad):
        return [["pad", _four_sides(transform.padding)]]
    if isinstance(transform, SquarePad):
        return [["square"]]
    if transform is None or isinstance(transform, _IN_PLACE):
        return []
    name = type(transform).__name__
    _warn(name)
    return [["unknown", name]]


def _four_sides(padding: int | Sequence[int]) -> list[int]:
    """Left, top, right and bottom of what torchvision calls a padding."""
    sides = [padding] if isinstance(padding, int) else list(padding)
    return sides * (4 // len(sides))


@lru_cache
def _warn(name: str) -> None:
    logger.warning(
        "pre_processor: it is not known where %s moves pixels, so no boxes are given and no map is laid over an image; "
        "scores and labels do not need it.",
        name,
    )


def on_whole_image(plane: np.ndarray, size: tuple[int, int], steps: Sequence[Sequence[Any]]) -> np.ndarray | None:
    """Map a model's output back to the whole image.

    Cropped parts are filled with zeros, and paddings are cut off.

    Args:
        plane: An anomaly map or a mask, of shape ``(h, w)``.
        size: Height and width of the image, in pixels.
        steps: What :func:`crop_steps` returned.

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
