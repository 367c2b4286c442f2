# SPDX-License-Identifier: Apache-2.0
"""Images cut into tiles that go through a network one by one, and the tiles' maps joined again."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Tiles", "tiles_of"]


@dataclass(frozen=True)
class Tiles:
    """Tiles of one size on a grid that starts at the upper left corner.

    Images are padded with zeros on the right and at the bottom if tiles do not end with them. Maps are averaged where
    tiles overlap. Both are as in anomalib's ``Tiler``, but this class keeps no state between calls and can be exported.

    Args:
        size: Height and width of a tile, in pixels of the model's input.
        overlap: Number of rows and columns that a tile shares with the next one.

    Raises:
        ValueError: If a size is less than 1 pixel, or an overlap negative or not smaller than the tile.

    Example:
        >>> tiles = Tiles((4, 4), overlap=(2, 0))
        >>> cut = tiles.cut(torch.arange(64.0).reshape(1, 1, 8, 8))
        >>> cut.shape, torch.equal(tiles.join(cut, (8, 8)), torch.arange(64.0).reshape(1, 1, 8, 8))
        (torch.Size([6, 1, 4, 4]), True)
    """

    size: tuple[int, int]
    overlap: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if any(side < 1 for side in self.size):
            msg = f"tile_size must be at least 1 pixel, got {list(self.size)}."
            raise ValueError(msg)
        if any(not 0 <= shared < side for shared, side in zip(self.overlap, self.size, strict=True)):
            msg = f"tile_overlap must be from 0 to less than tile_size {list(self.size)}, got {list(self.overlap)}."
            raise ValueError(msg)

    def check(self, size: Sequence[int]) -> None:
        """Check that images are no smaller than a tile.

        Raises:
            ValueError: If they are smaller.
        """
        if any(tile > side for tile, side in zip(self.size, size, strict=True)):
            msg = (
                f"tile_size {list(self.size)} is larger than the images, which have {list(size)} pixels in "
                "the model: use a smaller tile_size, or a larger image_size."
            )
            raise ValueError(msg)

    def cut(self, images: Tensor) -> Tensor:
        """Return the tiles, row by row and image by image.

        Args:
            images: Images of shape ``(N, C, H, W)``.

        Returns:
            Tiles of shape ``(N T, C, *size)``.

        Raises:
            ValueError: If the images are smaller than a tile.
        """
        height, width = images.shape[-2:]
        self.check((height, width))
        (rows, columns), (down, right) = self._places((height, width))
        padded = functional.pad(images, (0, right, 0, down))
        # Two look-ups instead of one for each tile: (N, C, R, h, S, w).
        tiles = padded[:, :, _windows(rows, self.size[0])][..., _windows(columns, self.size[1])]
        return tiles.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)

    def join(self, maps: Tensor, size: Sequence[int]) -> Tensor:
        """Join the maps of tiles.

        Args:
            maps: Maps of shape ``(N T, C, *self.size)``, in the order of :meth:`cut`.
            size: Height and width of the images.

        Returns:
            Maps of shape ``(N, C, *size)``.
        """
        (rows, columns), _ = self._places(size)
        # (N, R, S, C, h, w), then (N, R, C, h, W), then (N, C, H, W).
        maps = maps.unflatten(0, (-1, len(rows), len(columns)))
        whole_rows = _average(maps.unbind(2), columns).transpose(-1, -2)
        return _average(whole_rows.unbind(1), rows).transpose(-1, -2)[..., : size[0], : size[1]]

    def count(self, size: Sequence[int]) -> int:
        """Return the number of tiles of an image of a height and width.

        Example:
            >>> Tiles((64, 64), (0, 0)).count((128, 100))
            4
        """
        (rows, columns), _ = self._places(size)
        return len(rows) * len(columns)

    def _places(self, size: Sequence[int]) -> tuple[tuple[range, range], tuple[int, int]]:
        """First rows and columns of the tiles, and the padding of the image."""
        places, beyond = [], []
        for side, tile, shared in zip(size, self.size, self.overlap, strict=True):
            step = tile - shared
            count = -(-(side - tile) // step) + 1
            places.append(range(0, count * step, step))
            beyond.append((count - 1) * step + tile - side)
        return (places[0], places[1]), (beyond[0], beyond[1])


def _windows(places: range, length: int) -> Tensor:
    """Indices of the pixels in each tile along an axis, of shape ``(T, length)``."""
    return torch.tensor(places)[:, None] + torch.arange(length)


def _average(tiles: Sequence[Tensor], places: range) -> Tensor:
    """Join tiles along the last axis, averaged where they overlap.

    Args:
        tiles: The tiles, all of shape ``(..., length)``.
        places: Where each tile begins.
    """
    length = tiles[0].shape[-1]
    whole = places[-1] + length
    known = torch.zeros(whole)
    parts = []
    for place, tile in zip(places, tiles, strict=True):
        known[place : place + length] += 1
        parts.append(functional.pad(tile, (place, whole - place - length)))
    return sum(parts[1:], start=parts[0]) / known.to(tiles[0])


def tiles_of(size: int | Sequence[int] | None, overlap: int | Sequence[int] = 0) -> Tiles | None:
    """Return tiles from a user's arguments.

    Args:
        size: Height and width of a tile, or one number for both; ``None`` for no tiles.
        overlap: Rows and columns that neighbours share, or one number for both.

    Raises:
        ValueError: If an argument is out of range, or there is an overlap without a size.

    Example:
        >>> tiles_of(128, [32, 0])
        Tiles(size=(128, 128), overlap=(32, 0))
    """
    shared = _pair("tile_overlap", overlap)
    if size is None:
        if any(shared):
            msg = f"tile_overlap {overlap!r} needs tile_size."
            raise ValueError(msg)
        return None
    return Tiles(_pair("tile_size", size), shared)


def _pair(name: str, value: int | Sequence[int]) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2:
        msg = f"{name} must be a number of pixels, or a height and a width, got {value!r}."
        raise ValueError(msg)
    return int(pair[0]), int(pair[1])
