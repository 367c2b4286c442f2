# SPDX-License-Identifier: Apache-2.0
"""The region of interest as plain values; its masks are tested in test_region.py."""

import numpy as np

from rd_plugin.components import Region


def test_polygons_and_masks_are_kept_as_plain_values() -> None:
    region = Region(8, 4, (((0, 0), (4, 0), (4, 4), (0, 4)),))
    assert Region.of(region.plain()) == region
    drawn = Region.of(Region.of_mask(region.mask((4, 8))).plain())
    np.testing.assert_array_equal(drawn.mask((4, 8)), region.mask((4, 8)))
    assert len(region.outlines((4, 8))) == 1
