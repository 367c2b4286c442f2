# SPDX-License-Identifier: Apache-2.0
"""Images made small for a report, kept on the disk until it is written."""

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["Picture", "PictureStore", "fitting"]

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


@dataclass(frozen=True)
class Picture:
    """A picture in a store.

    Args:
        store: Where it is kept.
        offset: Its place.
        image: Length of the image, a WebP file, in bytes.
        overlay: Length of the overlay, which follows it; 0 if there is none.
    """

    store: "PictureStore"
    offset: int
    image: int
    overlay: int

    def read(self) -> tuple[bytes, bytes]:
        """Return image and overlay as WebP files; the overlay is empty if there is none."""
        content = self.store.read(self.offset, self.image + self.overlay)
        return content[: self.image], content[self.image :]


class PictureStore:
    """Small pictures in a temporary file, so that memory does not grow with their number.

    Args:
        expected: How many pictures there are going to be: the fewer, the larger they are; ``None`` if that is not
            known.
    """

    def __init__(self, expected: int | None = None) -> None:
        # Two texts and a row of figures each take a little beside the pictures.
        self._limit = int(_ALL / _TEXT / min(max(expected or _IMAGES, 1), _IMAGES)) - 100
        # It closes itself, and is nowhere to be seen.
        self._file: Any = TemporaryFile()  # noqa: SIM115
        self._end = 0

    def shrink(
        self, image: Image.Image, anomaly_map: np.ndarray | None = None, threshold: float = 0.5
    ) -> tuple[bytes, bytes]:
        """Make an image small; several threads may do so at once.

        Args:
            image: The image at any size.
            anomaly_map: Its anomaly map of shape ``(H, W)``.
            threshold: The map's value from which on a pixel is anomalous.

        Returns:
            Image and overlay as WebP files; the overlay is empty without a map.
        """
        overlay = b"" if anomaly_map is None else _overlay(anomaly_map, threshold)
        return _shrunk(image.convert("RGB"), max(self._limit - len(overlay), 0)), overlay

    def put(self, image: bytes, overlay: bytes) -> Picture:
        """Keep a picture that has been made small.

        Args:
            image: What :meth:`shrink` returned first.
            overlay: What it returned second.
        """
        self._file.seek(self._end)
        self._file.write(image + overlay)
        picture = Picture(self, self._end, len(image), len(overlay))
        self._end += len(image) + len(overlay)
        return picture

    def read(self, offset: int, length: int) -> bytes:
        """Return what is kept at a place.

        Args:
            offset: The place.
            length: How many bytes.
        """
        self._file.seek(offset)
        return self._file.read(length)


def fitting(pictures: Iterable[Picture | None]) -> list[Picture | None]:
    """Leave out the pictures for which a report has no room, the last first."""
    room, kept = _ALL / _TEXT, []
    for picture in pictures:
        room -= picture.image + picture.overlay + 100 if picture is not None else 0
        kept.append(picture if room >= 0 else None)
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
