# SPDX-License-Identifier: Apache-2.0
"""The region of interest as a mask of images and features."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .anomaly_map import ScoreType, is_count
from .roi import Region
from .tiles import Tiles

__all__ = ["RegionMask"]


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
        """Return masks for the inputs of the networks, or for features of them, which have a coarser grid.

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
        if score == "max" or is_count(score):
            return score
        share = float(self.mask.mean())
        return share * (1.0 if score == "mean" else float(score))
