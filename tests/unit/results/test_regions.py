# SPDX-License-Identifier: Apache-2.0
"""Regions of a mask in an image's own pixels."""

from dataclasses import astuple

import cv2
import numpy as np
import pytest

from rd_plugin.results import Region, RegionRules, counting_level, find_regions


def _boxes(regions: tuple[Region, ...]) -> list[tuple]:
    """Box, area and peak of each region."""
    return [astuple(region)[:6] for region in regions]


def test_regions_in_the_files_pixels_highest_peak_first() -> None:
    anomaly_map = np.zeros((8, 8))
    anomaly_map[1:3, 1:3] = 0.6
    anomaly_map[5:8, 4:8] = 0.7
    anomaly_map[6, 5] = 0.9
    found = find_regions(anomaly_map > 0.5, anomaly_map, (80, 160))
    assert _boxes(found) == [(80, 50, 80, 30, 12 * 200, 0.9), (20, 10, 40, 20, 4 * 200, 0.6)]


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    assert _boxes(find_regions(np.eye(5, dtype=bool), None, (5, 5))) == [(0, 0, 5, 5, 5, None)]


def test_boxes_hold_their_region_where_sizes_do_not_divide() -> None:
    mask = np.zeros((7, 7), bool)
    mask[3, 3] = True
    (region,) = find_regions(mask, None, (100, 30))
    assert (region.y, region.y + region.height) == (42, 58)
    assert (region.x, region.x + region.width) == (12, 18)
    # An image that is smaller than the map.
    assert _boxes(find_regions(mask, None, (3, 3))) == [(1, 1, 1, 1, 1, None)]


def test_a_mask_that_marks_nothing() -> None:
    assert find_regions(np.zeros((4, 4), bool), None, (9, 9)) == ()


def test_length_and_breadth_are_those_of_the_rotated_rectangle() -> None:
    mask = np.zeros((200, 200), np.uint8)
    corners = cv2.boxPoints(((100, 90), (80, 20), 30))
    cv2.fillPoly(mask, [corners.round().astype(np.int32)], 1)
    (region,) = find_regions(mask.astype(bool), np.full(mask.shape, 0.7), (200, 200))
    # The drawn outline and the corners of pixels add up to two pixels on each side.
    assert region.length == pytest.approx(82, abs=2)
    assert region.breadth == pytest.approx(22, abs=2)
    assert (region.center_x, region.center_y) == pytest.approx((100, 90), abs=1)
    assert region.mean == 0.7
    # A pixel is a square.
    (pixel,) = find_regions(np.eye(1, dtype=bool), None, (3, 5))
    assert (pixel.length, pixel.breadth, pixel.mean) == (5.0, 3.0, None)


MAP = np.zeros((8, 8))
MAP[1:3, 1:3] = 0.6
MAP[5:8, 4:8] = 0.7
MAP[0, 7] = 0.9


@pytest.mark.parametrize(
    ("rules", "ignored"),
    [
        (RegionRules(), [False, False, False]),
        (RegionRules(min_area=16), [False, False, True]),
        (RegionRules(min_area=17), [False, True, True]),
        (RegionRules(min_area=0.17, pixel_size=0.1), [False, True, True]),
        (RegionRules(min_peak=0.65), [False, False, True]),
        (RegionRules(min_area=40, min_peak=0.8), [True, True, True]),
    ],
)
def test_rules_ignore_regions_which_come_last(rules: RegionRules, ignored: list[bool]) -> None:
    # A pixel of the map is four of the file.
    found = find_regions(MAP > 0.5, MAP, (16, 16), rules)
    assert [region.ignored for region in found] == ignored


def test_level_from_which_on_no_region_counts() -> None:
    assert counting_level(MAP, (8, 8), RegionRules()) == 0.9
    assert counting_level(MAP, (8, 8), RegionRules(min_area=2)) == pytest.approx(0.7, abs=1e-5)
    assert counting_level(MAP, (8, 8), RegionRules(min_area=50)) == pytest.approx(0.0, abs=1e-5)
    # On the linear scale a peak of 0.6 is 0.625, and that of 0.9 is 2.5: four times as much, so at twice the threshold.
    assert counting_level(MAP, (8, 8), RegionRules(min_peak=0.6)) == pytest.approx(0.875, abs=1e-4)


@pytest.mark.parametrize(
    "rules", [RegionRules(min_area=3), RegionRules(min_area=1, min_peak=0.7), RegionRules(min_peak=0.3)]
)
def test_level_is_where_the_verdict_changes(rules: RegionRules) -> None:
    """After a model is scaled so that a level becomes 0.5, regions count if and only if the level is lower."""
    rng = np.random.default_rng(0)
    linear = cv2.GaussianBlur(rng.uniform(0, 2, (32, 32)), (5, 5), 0)

    def bent(values: np.ndarray) -> np.ndarray:
        return np.where(values > 0.5, 1 - 0.25 / np.maximum(values, 0.5), values)

    level = counting_level(bent(linear), (32, 32), rules)
    linear_level = level if level <= 0.5 else 0.25 / (1 - level)
    for factor, counts in ((0.999, True), (1.001, False)):
        scaled = bent(linear * 0.5 / (factor * linear_level))
        found = find_regions(scaled > 0.5, scaled, (32, 32), rules)
        assert any(not region.ignored for region in found) == counts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_area": -1}, "min_area must be 0 or more, got -1"),
        ({"min_peak": 1}, "min_peak must be at least 0 and below 1, got 1"),
        ({"pixel_size": 0}, "pixel_size must be the side of a pixel in millimetres, above 0, got 0"),
    ],
)
def test_rules_out_of_range(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RegionRules(**arguments)


def test_rules_of_a_record() -> None:
    rules = RegionRules(min_area=2, pixel_size=0.1)
    assert RegionRules.of({"regions": rules.plain()}) == rules
    assert RegionRules.of({}) == RegionRules()
    assert RegionRules().plain() == {}
