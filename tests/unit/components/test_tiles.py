# SPDX-License-Identifier: Apache-2.0
"""Tiles are cut and put together as anomalib's are."""

import pytest
import torch
from anomalib.data.utils.tiler import Tiler

from rd_plugin.components import Tiles, tiles_of


@pytest.mark.parametrize(
    ("image", "size", "overlap"),
    [
        ((64, 96), (32, 32), (0, 0)),
        ((64, 96), (32, 48), (16, 12)),
        ((65, 97), (32, 48), (0, 1)),
        ((50, 70), (50, 33), (49, 20)),
        ((40, 40), (40, 40), (0, 0)),
    ],
)
def test_as_anomalibs(image: tuple[int, int], size: tuple[int, int], overlap: tuple[int, int]) -> None:
    tiles = Tiles(size, overlap)
    tiler = Tiler(size, [side - shared for side, shared in zip(size, overlap, strict=True)])
    images = torch.randn(2, 3, *image)
    cut = tiles.cut(images)
    assert torch.equal(cut, tiler.tile(images))
    maps = torch.randn(len(cut), 1, *size)
    torch.testing.assert_close(tiles.join(maps, image), tiler.untile(maps))
    torch.testing.assert_close(tiles.join(cut, image), images)


def test_other_types_and_no_state() -> None:
    tiles = Tiles((16, 16), (4, 4))
    maps = torch.rand(9, 1, 16, 16, dtype=torch.float64)
    assert tiles.join(maps, (40, 40)).dtype == torch.float64
    assert tiles.join(torch.rand(2, 1, 16, 16), (16, 20)).shape == (1, 1, 16, 20)


def test_as_described_by_a_user() -> None:
    assert tiles_of(None) is None
    assert tiles_of(64) == Tiles((64, 64))
    assert tiles_of([64, 32], 8) == Tiles((64, 32), (8, 8))


@pytest.mark.parametrize(
    ("size", "overlap", "message"),
    [
        (0, 0, r"tile_size must be at least 1 pixel, got \[0, 0\]"),
        ([32, 32, 32], 0, r"tile_size must be a number of pixels, or a height and a width, got \[32, 32, 32\]"),
        (32, -1, r"tile_overlap must be from 0 to less than tile_size \[32, 32\], got \[-1, -1\]"),
        ([32, 64], 32, r"tile_overlap must be from 0 to less than tile_size \[32, 64\], got \[32, 32\]"),
        (None, 8, "tile_overlap 8 needs tile_size"),
    ],
)
def test_arguments_out_of_range(size: int | None, overlap: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiles_of(size, overlap)


def test_image_smaller_than_a_tile() -> None:
    with pytest.raises(ValueError, match=r"tile_size \[64, 64\] is larger than the images, which have \[48, 96\]"):
        Tiles((64, 64)).cut(torch.zeros(1, 3, 48, 96))
