# SPDX-License-Identifier: Apache-2.0
"""Regions of a mask in an image's own pixels."""

import numpy as np

from rd_plugin.inspection import find_regions
from rd_plugin.results import Region


def test_regions_in_the_files_pixels_highest_peak_first() -> None:
    anomaly_map = np.zeros((8, 8))
    anomaly_map[1:3, 1:3] = 0.6
    anomaly_map[5:8, 4:8] = 0.7
    anomaly_map[6, 5] = 0.9
    found = find_regions(anomaly_map > 0.5, anomaly_map, (80, 160))
    assert found == (Region(80, 50, 80, 30, 12 * 200, 0.9), Region(20, 10, 40, 20, 4 * 200, 0.6))


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    assert find_regions(np.eye(5, dtype=bool), None, (5, 5)) == (Region(0, 0, 5, 5, 5, None),)


def test_boxes_hold_their_region_where_sizes_do_not_divide() -> None:
    mask = np.zeros((7, 7), bool)
    mask[3, 3] = True
    (region,) = find_regions(mask, None, (100, 30))
    assert (region.y, region.y + region.height) == (42, 58)
    assert (region.x, region.x + region.width) == (12, 18)
    # An image that is smaller than the map.
    assert find_regions(mask, None, (3, 3)) == (Region(1, 1, 1, 1, 1, None),)


def test_a_mask_that_marks_nothing() -> None:
    assert find_regions(np.zeros((4, 4), bool), None, (9, 9)) == ()
