# SPDX-License-Identifier: Apache-2.0
"""The region of interest: the part of an image that is looked at."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .anomaly_map import ScoreType
from .tiles import Tiles

__all__ = ["Region", "RegionMask"]

# Shares of width and height may differ by this much, since sizes are rounded.
_TOLERANCE = 0.02
_LEAST_CORNERS = 3


@dataclass(frozen=True)
class Region:
    """A mask, or polygons, in an image of a size.

    What an even number of polygons covers is outside, so that they can cut holes.

    Args:
        width: Width of the image that the region was drawn on, in pixels.
        height: Its height.
        polygons: Corners ``(x, y)`` of each polygon, from ``(0, 0)`` at the upper left to ``(width, height)``.
        png: In place of polygons a mask as a PNG file in base64, white inside.

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
        """Return a region from plain values, as :meth:`plain` gives and a file holds them.

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
                (crossed,) = ((top <= rows) != (bottom <= rows)).nonzero()
                columns = left + (rows[crossed] - top) * (right - left) / (bottom - top or 1)
                np.add.at(edges, (crossed, np.ceil(columns - 0.5).clip(0, width).astype(int)), 1)
        return edges.cumsum(1)[:, :width] % 2 == 1

    def outlines(self, size: Sequence[int]) -> list[np.ndarray]:
        """Return the outlines in an image of a height and width, each of shape ``(K, 1, 2)``: pixels ``x, y``."""
        contours, _ = cv2.findContours(self.mask(size).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        return [np.asarray(contour) for contour in contours]

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


class RegionMask(nn.Module):
    """A region as a mask, for images and features of any size.

    Args:
        region: The region.
        size: Height and width of images in the model, in pixels, if they are known.
    """

    mask: Tensor

    def __init__(self, region: Region, size: Sequence[int] | None = None) -> None:
        super().__init__()
        self.region = region
        self.register_buffer("mask", torch.empty(0), persistent=False)
        self.set_size(size or (region.height, region.width))

    def set_size(self, size: Sequence[int]) -> None:
        """Make the mask for images of a height and width, in pixels."""
        self.mask = torch.from_numpy(self.region.mask(size)).to(self.mask.device).float()[None, None]

    def inside(self, size: Sequence[int]) -> Tensor:
        """Return booleans of shape ``(1, 1, *size)``, true inside."""
        if tuple(self.mask.shape[-2:]) == tuple(size):
            return self.mask > 0
        return F.interpolate(self.mask, tuple(size), mode="nearest") > 0

    def restrict(self, images: Tensor) -> Tensor:
        """Return images of shape ``(N, C, H, W)`` that are 0 outside."""
        return torch.where(self.inside(images.shape[-2:]), images, 0)

    def inside_tiles(self, tiles: Tiles | None, size: Sequence[int], count: int) -> Tensor:
        """Return masks for the inputs of the networks, or for features of them, which lie on a coarser grid.

        Args:
            tiles: How images are cut into tiles, each of which is an input; ``None`` if images are the inputs.
            size: Height and width of the inputs or features; a position is inside if any of its pixels is.
            count: Number of inputs or features.

        Returns:
            Booleans of shape ``(count, 1, *size)``, or ``(1, 1, *size)`` without tiles.
        """
        mask = self.mask if tiles is None else tiles.cut(self.mask)
        steps = [max(1, -(-whole // side)) for whole, side in zip(mask.shape[-2:], size, strict=True)]
        coarse = F.interpolate(F.max_pool2d(mask, steps, ceil_mode=True), tuple(size), mode="nearest") > 0
        return coarse if tiles is None else coarse.repeat(count // len(coarse), 1, 1, 1)

    def restrict_map(self, anomaly_map: Tensor) -> Tensor:
        """Return maps of shape ``(N, 1, H, W)`` whose outside has the lowest value of the inside."""
        inside = self.inside(anomaly_map.shape[-2:])
        lowest = torch.where(inside, anomaly_map, torch.inf).amin(dim=(-2, -1), keepdim=True)
        return torch.where(inside, anomaly_map, lowest)

    def score_within(self, score: ScoreType) -> ScoreType:
        """Return how to score maps of :meth:`restrict_map`, so that ``score`` is that of the inside."""
        share = float(self.mask.mean())
        return "max" if score == "max" else share * (1.0 if score == "mean" else float(score))
