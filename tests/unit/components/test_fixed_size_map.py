# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from rd_plugin.components import FixedSizeMap


@pytest.mark.parametrize("size", [(392, 392), (100, 300), (32, 20)])
def test_map_is_resized_and_blurred_as_in_the_program(size: tuple[int, int]) -> None:
    images = torch.rand(2, 1, *size)
    steps = torch.exp(-0.5 * (torch.arange(-2.0, 3) / 4) ** 2)
    kernel = torch.outer(steps, steps) / steps.sum() ** 2
    resized = F.interpolate(images, size=256, mode="bilinear", align_corners=False)
    # Zeros beyond the border.
    expected = F.conv2d(resized, kernel[None, None], padding=2)
    torch.testing.assert_close(FixedSizeMap(256, 4.0)(images), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(FixedSizeMap(256, 0.0)(images), resized, rtol=0, atol=1e-5)


def test_size_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="map_size must be at least 1 pixel, got 0"):
        FixedSizeMap(0, 4.0)
