# SPDX-License-Identifier: Apache-2.0
"""Describe how a pre-processor crops or pads, as plain data for a record."""

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from anomalib.data.transforms import ExportableCenterCrop
from anomalib.data.transforms.square_pad import SquarePad
from torch.nn import Sequential
from torchvision.transforms import v2
from torchvision.transforms.v2 import CenterCrop, Compose, Pad, Resize

__all__ = ["crop_steps"]

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
