# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from rd_plugin.components import Region, RegionMask, Tiles
from rd_plugin.components.anomaly_map import ImageScore

SQUARE = (((2.0, 1.0), (6.0, 1.0), (6.0, 3.0), (2.0, 3.0)),)


def test_polygon_covers_pixels_whose_centre_is_inside() -> None:
    mask = Region(8, 4, SQUARE).mask((4, 8))
    expected = np.zeros((4, 8), bool)
    expected[1:3, 2:6] = True
    assert np.array_equal(mask, expected)
    twice = Region(8, 4, SQUARE).mask((8, 16))
    assert np.array_equal(twice, expected.repeat(2, 0).repeat(2, 1))


def test_polygon_in_another_cuts_a_hole_and_slanting_edges_count() -> None:
    ring = Region(10, 10, (((0, 0), (10, 0), (10, 10), (0, 10)), ((4, 4), (6, 4), (6, 6), (4, 6)))).mask((10, 10))
    assert ring.sum() == 96
    assert not ring[4:6, 4:6].any()
    triangle = Region(100, 100, (((0, 0), (100, 0), (0, 100)),)).mask((100, 100))
    assert triangle.sum() == pytest.approx(5000, abs=60)
    assert triangle[0, 98]
    assert not triangle[99, 98]


def test_mask_is_kept_as_it_is() -> None:
    mask = np.random.default_rng(0).random((20, 30)) > 0.5
    region = Region.of_mask(mask)
    assert (region.width, region.height) == (30, 20)
    assert np.array_equal(region.mask((20, 30)), mask)
    assert np.array_equal(Region.of(region.plain()).mask((40, 60)), mask.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"width": 8, "height": 4}, "nothing of the image of 8 x 4 pixels is inside"),
        ({"width": 8, "height": 4, "polygons": [[[20, 0], [30, 0], [30, 4]]]}, "nothing of the image"),
        ({"width": 8, "height": 4, "polygons": [[[0, 0], [1, 1]]]}, "at least 3 corners"),
        ({"polygons": [[[0, 0], [1, 0], [1, 1]]]}, "roi needs width and height"),
        ({"width": 8, "height": 4, "polygons": [[0, 1, 2]]}, "a list of corners"),
        ([1], "roi needs width and height"),
    ],
)
def test_what_is_no_region(plain: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Region.of(plain)


def test_aspect_ratio() -> None:
    region = Region(800, 400, tuple(tuple((100 * x, 100 * y) for x, y in polygon) for polygon in SQUARE))
    region.check_aspect((100, 201))
    with pytest.raises(ValueError, match=r"roi was drawn on an image of 800 x 400 pixels, but a.png has 100 x 100"):
        region.check_aspect((100, 100), "a.png")


def test_maps_get_the_lowest_value_of_the_inside() -> None:
    mask = RegionMask(Region(8, 4, SQUARE))
    anomaly_map = torch.arange(32.0).reshape(1, 1, 4, 8) + 5
    restricted = mask.restrict_map(anomaly_map)
    assert restricted.min() == anomaly_map[0, 0, 1, 2]
    assert torch.equal(restricted[..., 1:3, 2:6], anomaly_map[..., 1:3, 2:6])
    assert restricted.unique().numel() == 8


@pytest.mark.parametrize("score", ["max", "mean", 0.25])
def test_score_is_that_of_the_inside(score: str | float) -> None:
    mask = RegionMask(Region(8, 4, SQUARE))
    anomaly_map = torch.rand(2, 1, 4, 8)
    found = ImageScore(mask.score_within(score))(mask.restrict_map(anomaly_map))
    torch.testing.assert_close(found, ImageScore(score)(anomaly_map[..., 1:3, 2:6]))


def test_score_of_areas_is_that_of_the_inside() -> None:
    mask = RegionMask(Region(8, 4, SQUARE), (32, 64))
    anomaly_map = torch.rand(2, 1, 32, 64)
    found = ImageScore(mask.score_within(3))(mask.restrict_map(anomaly_map))
    torch.testing.assert_close(found, ImageScore(3)(anomaly_map[..., 8:24, 16:48]))


def test_coarser_positions_are_inside_where_a_pixel_is() -> None:
    mask = RegionMask(Region(8, 4, SQUARE), (16, 32))
    assert mask.inside_tiles(None, (4, 8), 2).int().tolist() == [
        [[[0] * 8, *([[0, 0, 1, 1, 1, 1, 0, 0]] * 2), [0] * 8]]
    ]
    assert mask.inside_tiles(None, (1, 1), 2).all()
    tiles = mask.inside_tiles(Tiles((16, 8)), (4, 2), 8)
    assert tiles.shape == (8, 1, 4, 2)
    assert tiles.flatten(1).any(1).tolist() == [False, True, True, False] * 2


def test_outside_of_images_is_0() -> None:
    images = torch.ones(2, 3, 8, 16)
    restricted = RegionMask(Region(8, 4, SQUARE)).restrict(images)
    assert restricted.sum() == 2 * 3 * 32
    assert not RegionMask(Region(8, 4, SQUARE)).state_dict()
