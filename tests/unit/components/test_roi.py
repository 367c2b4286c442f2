# SPDX-License-Identifier: Apache-2.0
"""The region of interest as plain values; its masks are tested in test_region.py."""

import numpy as np

from rd_plugin.components import Region
from rd_plugin.components.roi import OUTLINE


def test_polygons_and_masks_are_kept_as_plain_values() -> None:
    region = Region(8, 4, (((0, 0), (4, 0), (4, 4), (0, 4)),))
    assert Region.of(region.plain()) == region
    drawn = Region.of(Region.of_mask(region.mask((4, 8))).plain())
    np.testing.assert_array_equal(drawn.mask((4, 8)), region.mask((4, 8)))
    assert len(region.outlines((4, 8))) == 1


def test_outline_is_drawn_at_any_size() -> None:
    region = Region(8, 4, (((2.0, 1.0), (6.0, 1.0), (6.0, 3.0), (2.0, 3.0)),))
    image = np.zeros((40, 80, 3), np.uint8)
    drawn = region.draw(image)
    assert not image.any()
    outlined = (drawn == OUTLINE).all(-1)
    assert outlined[10, 20:60].all()
    assert outlined[10:30, 59].all()
    assert outlined.sum() == 2 * 40 + 2 * 18


def test_region_of_a_record() -> None:
    region = Region(8, 4, (((2.0, 1.0), (6.0, 1.0), (6.0, 3.0)),))
    assert Region.of_record({"arguments": {"roi": region.plain()}}) == region
    for record in ({}, {"arguments": {"roi": None}}, {"arguments": None}):
        assert Region.of_record(record) is None
