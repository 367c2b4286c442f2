# SPDX-License-Identifier: Apache-2.0
"""Images made small for a report, kept on the disk until it is written."""

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

__all__ = ["Small", "Thumbnail", "ThumbnailStore", "fitting"]

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


class Small(NamedTuple):
    """An image made small.

    Args:
        image: A WebP file.
        overlay: Its anomaly map, a transparent WebP file; empty if there is none.
        size: Width and height of the image before, in pixels.
    """

    image: bytes
    overlay: bytes
    size: tuple[int, int]


@dataclass(frozen=True)
class Thumbnail:
    """A small image in a store.

    Args:
        store: Where it is kept.
        offset: Its place.
        lengths: Bytes of the image and of the overlay, which follows it.
        size: Width and height of the image before, in pixels.
    """

    store: "ThumbnailStore"
    offset: int
    lengths: tuple[int, int]
    size: tuple[int, int]

    def read(self) -> Small:
        """Return what is kept."""
        content = self.store.read(self.offset, sum(self.lengths))
        return Small(content[: self.lengths[0]], content[self.lengths[0] :], self.size)


class ThumbnailStore:
    """Small images in a temporary file, so that memory does not grow with their number.

    Args:
        expected: How many there are going to be: the fewer, the larger they are; ``None`` if that is not known.
    """

    def __init__(self, expected: int | None = None) -> None:
        # Two texts and a row of figures each take a little beside the pictures.
        self._limit = int(_ALL / _TEXT / (_IMAGES if expected is None else min(max(expected, 1), _IMAGES))) - 100
        # It closes itself, and is nowhere to be seen.
        self._file: Any = TemporaryFile()  # noqa: SIM115
        self._end = 0

    def shrink(self, image: Image.Image, anomaly_map: np.ndarray | None = None, threshold: float = 0.5) -> Small:
        """Make an image small; several threads may do so at once.

        Args:
            image: The image at any size.
            anomaly_map: Its anomaly map of shape ``(H, W)``.
            threshold: The map's value from which on a pixel is anomalous.
        """
        size = image.size
        overlay = b"" if anomaly_map is None else _overlay(anomaly_map, threshold)
        return Small(_shrunk(image.convert("RGB"), max(self._limit - len(overlay), 0)), overlay, size)

    def put(self, small: Small) -> Thumbnail:
        """Keep an image that has been made small.

        Args:
            small: What :meth:`shrink` returned.
        """
        self._file.seek(self._end)
        self._file.write(small.image + small.overlay)
        thumbnail = Thumbnail(self, self._end, (len(small.image), len(small.overlay)), small.size)
        self._end += sum(thumbnail.lengths)
        return thumbnail

    def read(self, offset: int, length: int) -> bytes:
        """Return what is kept at a place.

        Args:
            offset: The place.
            length: How many bytes.
        """
        self._file.seek(offset)
        return self._file.read(length)


def fitting(thumbnails: Iterable[Thumbnail | None]) -> list[Thumbnail | None]:
    """Leave out the thumbnails for which a report has no room, the last first."""
    room, kept = _ALL / _TEXT, []
    for thumbnail in thumbnails:
        room -= sum(thumbnail.lengths) + 100 if thumbnail is not None else 0
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
