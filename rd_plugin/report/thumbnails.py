# SPDX-License-Identifier: Apache-2.0
"""Images made small for a report."""

from collections.abc import Iterable
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image

__all__ = ["Thumbnail", "fitting", "make_thumbnail"]

# What all pictures of a report may take as text in bytes; base64 makes four of three.
_ALL = 56 * 10**6
_TEXT = 4 / 3
# How many images a report has room for in any case.
_IMAGES = 10_000
# The longer side in pixels, and how far it may go down for an image that does not compress.
_LARGEST, _SMALLEST, _STEP = 384, 48, 0.8
# Bytes that a pixel of a textured image takes at this quality.
_QUALITY, _PER_PIXEL = 60, 0.2
# An anomaly map is smooth.
_MAP_SIDE = 48
# How much of the image an overlay hides at most.
_STRONGEST = 0.75


class Thumbnail(NamedTuple):
    """An image made small.

    Args:
        image: A WebP file.
        overlay: Its anomaly map, a transparent WebP file; empty if there is none.
        size: Width and height of the image before, in pixels.
    """

    image: bytes
    overlay: bytes
    size: tuple[int, int]


def make_thumbnail(
    image: Image.Image, anomaly_map: np.ndarray | None = None, threshold: float = 0.5, expected: int | None = None
) -> Thumbnail:
    """Make an image small.

    Args:
        image: The image at any size.
        anomaly_map: Its anomaly map of shape ``(H, W)``.
        threshold: The map's value from which on a pixel is anomalous.
        expected: How many images the report is going to have: the fewer, the larger they are; ``None`` if that is not
            known.
    """
    # Two texts and a row of figures each take a little beside the pictures.
    limit = int(_ALL / _TEXT / (_IMAGES if expected is None else min(max(expected, 1), _IMAGES))) - 100
    overlay = b"" if anomaly_map is None else _overlay(anomaly_map, threshold)
    return Thumbnail(_shrunk(image.convert("RGB"), max(limit - len(overlay), 0)), overlay, image.size)


def fitting(thumbnails: Iterable[Thumbnail | None]) -> list[Thumbnail | None]:
    """Leave out the thumbnails for which a report has no room, the last first."""
    room, kept = _ALL / _TEXT, []
    for thumbnail in thumbnails:
        room -= len(thumbnail.image) + len(thumbnail.overlay) + 100 if thumbnail is not None else 0
        kept.append(thumbnail if room >= 0 else None)
    return kept


def _shrunk(image: Image.Image, limit: int) -> bytes:
    """An image as a WebP file of about that many bytes at most."""
    side = min(_LARGEST, max(_SMALLEST, int((limit / _PER_PIXEL) ** 0.5)))
    image.thumbnail((side, side), reducing_gap=2.0)
    content = _webp(image)
    while len(content) > limit and side * _STEP >= _SMALLEST:
        side = int(side * _STEP)
        image.thumbnail((side, side))
        content = _webp(image)
    return content


def _overlay(anomaly_map: np.ndarray, threshold: float) -> bytes:
    """An anomaly map as a transparent picture: nothing where it is low, yellow at the threshold, red beyond."""
    # What is not a number is as wrong as can be.
    values = np.nan_to_num(np.asarray(anomaly_map, dtype=np.float32) / max(threshold, 1e-12), nan=2.0, posinf=2.0)
    small = Image.fromarray(np.clip(values / 2, 0, 1))
    small.thumbnail((_MAP_SIDE, _MAP_SIDE), Image.Resampling.BILINEAR)
    share = np.asarray(small)
    # Good images come close to the threshold in many places.
    strength = np.clip((share - 0.4) / 0.6, 0, 1)
    colour = np.stack(
        [
            np.full_like(share, 255),
            255 * np.clip(2 - 2 * share, 0, 1),
            np.zeros_like(share),
            255 * _STRONGEST * strength**0.7,
        ],
        axis=-1,
    )
    return _webp(Image.fromarray(np.round(colour).astype(np.uint8)))


def _webp(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "WEBP", quality=_QUALITY, alpha_quality=_QUALITY, method=2)
    return file.getvalue()
