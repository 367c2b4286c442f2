# SPDX-License-Identifier: Apache-2.0
"""Pictures made small: they fit, and the overlay is where the map is high."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from rd_plugin.components import Region
from rd_plugin.report import Thumbnail, make_thumbnail
from rd_plugin.report.thumbnails import fitting


def noise(height: int, width: int) -> Image.Image:
    """What compresses worst."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("expected", [10_000, None])
def test_ten_thousand_images_fit_into_sixty_megabytes(expected: int | None) -> None:
    image, overlay, _ = make_thumbnail(
        noise(600, 800), np.abs(np.sin(np.add.outer(np.arange(256), np.arange(256)) / 30)), expected=expected
    )
    assert 10_000 * (len(image) + len(overlay)) * 4 / 3 < 57e6
    width, height = Image.open(BytesIO(image)).size
    assert (width, height) == pytest.approx((4 / 3 * height, height), abs=2)
    assert width >= 80


def test_few_images_are_larger_and_keep_their_shape() -> None:
    image, overlay, size = make_thumbnail(noise(600, 800), expected=20)
    assert Image.open(BytesIO(image)).size == (384, 288)
    assert (overlay, size) == (b"", (800, 600))


def test_overlay_is_nothing_below_the_threshold_yellow_at_it_and_red_beyond() -> None:
    anomaly_map = np.full((48, 48), 0.3)
    anomaly_map[:, 16:32] = 0.4
    anomaly_map[:, 32:] = 0.9
    anomaly_map[:8, 32:] = np.nan
    _, overlay, _ = make_thumbnail(noise(64, 64), anomaly_map, threshold=0.4, expected=1)
    pixels = np.asarray(Image.open(BytesIO(overlay))).astype(int)
    low, at, high, lost = pixels[30, 8], pixels[30, 24], pixels[30, 40], pixels[3, 40]
    assert low[3] < 10 < at[3] < high[3]
    assert at[:2] == pytest.approx((255, 255), abs=25)
    assert high[:2] == pytest.approx((255, 0), abs=25)
    assert lost == pytest.approx(high, abs=25)


def test_pictures_beyond_the_room_are_left_out_from_the_end() -> None:
    large = Thumbnail(bytes(25 * 10**6), b"", (1, 1))
    assert fitting([large, None, large, large]) == [large, None, None, None]


def test_region_of_interest_is_outlined() -> None:
    region = Region(80, 60, (((0, 0), (40, 0), (40, 60), (0, 60)),))
    content, _, size = make_thumbnail(Image.new("RGB", (800, 600)), expected=20, region=region)
    assert size == (800, 600)
    pixels = np.asarray(Image.open(BytesIO(content))).astype(int)
    # WebP keeps colours at half the resolution.
    assert pixels[144, 186:195, 2].max() > 100
    assert pixels[144, 40:150].max() < 30
    assert pixels[144, 230:350].max() < 30
