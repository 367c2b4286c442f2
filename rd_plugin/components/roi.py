# SPDX-License-Identifier: Apache-2.0
"""The region of interest: the part of an image that is inspected. A station draws it without torch."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

__all__ = ["OUTLINE", "Region"]

#: Colour of outlines, in RGB.
OUTLINE = (0, 130, 255)
# Width of an outline, as a fraction of an image's shorter side.
_LINE = 1 / 250

# Shares of width and height may differ by this much, since sizes are rounded.
_TOLERANCE = 0.02
_LEAST_CORNERS = 3


@dataclass(frozen=True)
class Region:
    """A mask, or polygons, in an image of a size.

    Pixels that an even number of polygons covers are outside, so that polygons can cut holes.

    Args:
        width: Width of the image that the region was drawn on, in pixels.
        height: Its height.
        polygons: Corners ``(x, y)`` of each polygon, from ``(0, 0)`` at the upper left to ``(width, height)``.
        png: Instead of polygons, a mask as a PNG file in base64, white inside.

    Raises:
        ValueError: If nothing of the image is inside.

    Example:
        >>> Region(4, 2, (((0, 0), (2, 0), (2, 2), (0, 2)),)).mask((2, 4)).astype(int).tolist()
        [[1, 1, 0, 0], [1, 1, 0, 0]]
    """

    width: int
    height: int
    polygons: tuple[tuple[tuple[float, float], ...], ...] = ()
    png: str = ""

    def __post_init__(self) -> None:
        if not self.mask((self.height, self.width)).any():
            msg = f"roi: nothing of the image of {self.width} x {self.height} pixels is inside."
            raise ValueError(msg)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Region":
        """Return a region from plain values, as :meth:`plain` returns and a file contains them.

        Raises:
            ValueError: If they are not those of a region.
        """
        try:
            polygons = tuple(tuple((float(x), float(y)) for x, y in polygon) for polygon in plain.get("polygons") or ())
            width, height, png = int(plain["width"]), int(plain["height"]), str(plain.get("png", ""))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = (
                "roi needs width and height of the image, in pixels, and polygons, each a list of corners [x, y], got "
                f"{str(plain)[:200]}."
            )
            raise ValueError(msg) from error
        if min(width, height) < 1 or any(len(polygon) < _LEAST_CORNERS for polygon in polygons):
            msg = f"roi needs polygons of at least 3 corners and an image of at least 1 pixel, got {str(plain)[:200]}."
            raise ValueError(msg)
        return cls(width, height, polygons, png)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Region | None":
        """Return the region in a model's record; ``None`` if the model uses whole images."""
        plain = (record.get("arguments") or {}).get("roi")
        return None if plain is None else cls.of(plain)

    @classmethod
    def of_mask(cls, mask: np.ndarray) -> "Region":
        """Return a region from booleans of shape ``(height, width)``, true inside."""
        _, file = cv2.imencode(".png", mask.astype(np.uint8) * 255)
        return cls(mask.shape[1], mask.shape[0], png=base64.b64encode(file.tobytes()).decode())

    def plain(self) -> dict[str, Any]:
        """Return the region in plain values, for a record."""
        size = {"width": self.width, "height": self.height}
        if self.png:
            return {**size, "png": self.png}
        return {**size, "polygons": [[list(corner) for corner in polygon] for polygon in self.polygons]}

    def mask(self, size: Sequence[int]) -> np.ndarray:
        """Return booleans of a height and width, true for pixels whose centre is inside."""
        height, width = size
        if self.png:
            file = np.frombuffer(base64.b64decode(self.png), np.uint8)
            mask = np.asarray(cv2.imdecode(file, cv2.IMREAD_GRAYSCALE))
            return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0
        # A row's pixels are inside after an odd number of edges.
        edges = np.zeros((height, width + 1), int)
        rows = np.arange(height) + 0.5
        for polygon in self.polygons:
            corners = np.array(polygon) * [width / self.width, height / self.height]
            for (left, top), (right, bottom) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
                if top == bottom:
                    continue
                (crossed,) = ((top <= rows) != (bottom <= rows)).nonzero()
                columns = left + (rows[crossed] - top) * (right - left) / (bottom - top)
                np.add.at(edges, (crossed, np.ceil(columns - 0.5).clip(0, width).astype(int)), 1)
        return edges.cumsum(1)[:, :width] % 2 == 1

    def outlines(self, size: Sequence[int]) -> list[np.ndarray]:
        """Return the outlines in an image of a height and width, each of shape ``(K, 1, 2)``: pixels ``x, y``."""
        contours, _ = cv2.findContours(self.mask(size).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        return [np.asarray(contour) for contour in contours]

    def draw(self, image: np.ndarray) -> np.ndarray:
        """Return 8-bit RGB pixels of shape ``(H, W, 3)`` with the outlines."""
        size = image.shape[:2]
        line = max(1, round(min(size) * _LINE))
        return cv2.polylines(image.copy(), self.outlines(size), isClosed=True, color=OUTLINE, thickness=line)

    def check_aspect(self, size: Sequence[int], name: str = "an image") -> None:
        """Check that an image has the region's aspect ratio.

        Args:
            size: Height and width of the image, in pixels.
            name: What the image is called in the message.

        Raises:
            ValueError: If it has another.
        """
        if abs(size[1] * self.height / (size[0] * self.width) - 1) > _TOLERANCE:
            msg = (
                f"roi was drawn on an image of {self.width} x {self.height} pixels, but {name} has {size[1]} x "
                f"{size[0]}, another aspect ratio."
            )
            raise ValueError(msg)
