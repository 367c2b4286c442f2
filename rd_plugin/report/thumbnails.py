# SPDX-License-Identifier: Apache-2.0
"""Small images for a report."""

from collections.abc import Iterable
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image

from rd_plugin.components import Region

__all__ = ["Thumbnail", "fitting", "make_thumbnail"]

# Maximum size of all pictures of a report as text, in bytes; base64 needs four bytes for three.
_ALL = 56 * 10**6
_TEXT = 4 / 3
# Minimum number of images that a report must have room for.
_IMAGES = 10_000
# The longer side in pixels, and its minimum for an image that compresses badly.
_LARGEST, _SMALLEST, _STEP = 384, 48, 0.8
# Bytes per pixel of a textured image at this quality.
_QUALITY, _PER_PIXEL = 60, 0.2
# An anomaly map is smooth.
_MAP_SIDE = 48
# Maximum opacity of an overlay.
_STRONGEST = 0.75


class Thumbnail(NamedTuple):
    """A small image.

    Args:
        image: A WebP file.
        overlay: Its anomaly map, a transparent WebP file; empty if there is none.
        size: Width and height of the original image, in pixels.
    """

    image: bytes
    overlay: bytes
    size: tuple[int, int]


def make_thumbnail(
    image: Image.Image,
    anomaly_map: np.ndarray | None = None,
    threshold: float = 0.5,
    expected: int | None = None,
    region: Region | None = None,
) -> Thumbnail:
    """Make an image small.

    Args:
        image: The image at any size.
        anomaly_map: Its anomaly map of shape ``(H, W)``.
        threshold: Value of the map above which a pixel is anomalous.
        expected: Expected number of images in the report: with fewer images, they are larger; ``None`` if unknown.
        region: Region of interest, whose outline is drawn; ``None`` if there is none.
    """
    # Besides the pictures, each image needs some bytes for two texts and a row of numbers.
    limit = int(_ALL / _TEXT / (_IMAGES if expected is None else min(max(expected, 1), _IMAGES))) - 100
    overlay = b"" if anomaly_map is None else _overlay(anomaly_map, threshold)
    return Thumbnail(_shrunk(image.convert("RGB"), max(limit - len(overlay), 0), region), overlay, image.size)


def fitting(thumbnails: Iterable[Thumbnail | None]) -> list[Thumbnail | None]:
    """Drop the thumbnails that exceed a report's size, beginning with the last."""
    room, kept = _ALL / _TEXT, []
    for thumbnail in thumbnails:
        room -= len(thumbnail.image) + len(thumbnail.overlay) + 100 if thumbnail is not None else 0
        kept.append(thumbnail if room >= 0 else None)
    return kept


def _shrunk(image: Image.Image, limit: int, region: Region | None) -> bytes:
    """An image as a WebP file of about that many bytes at most."""
    side = min(_LARGEST, max(_SMALLEST, int((limit / _PER_PIXEL) ** 0.5)))
    image.thumbnail((side, side), reducing_gap=2.0)
    if region is not None:
        image = Image.fromarray(region.draw(np.asarray(image)))
    content = _webp(image)
    while len(content) > limit and side * _STEP >= _SMALLEST:
        side = int(side * _STEP)
        image.thumbnail((side, side))
        content = _webp(image)
    return content


def _overlay(anomaly_map: np.ndarray, threshold: float) -> bytes:
    """An anomaly map as a transparent picture: nothing where it is low, yellow at the threshold, red beyond."""
    # NaN counts as the highest value.
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
