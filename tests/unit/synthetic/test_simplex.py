# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.data.constants import IMAGENET_DEFAULT_STD

from rd_plugin.synthetic import SimplexTwins, simplex_noise


@pytest.mark.parametrize(("name", "octaves"), [("simplex_seed2_3x31x31", 6), ("simplex_seed2_one_octave_3x8x8", 1)])
def test_noise_of_the_authors_program(golden: Path, name: str, octaves: int) -> None:
    with np.load(golden / "rdpp_resnet18.npz") as arrays:
        expected = arrays[name]
    np.testing.assert_allclose(simplex_noise(expected.shape, 2, octaves), expected, rtol=0, atol=1e-6)


def test_twins_differ_in_a_rectangle() -> None:
    torch.manual_seed(0)
    twins = SimplexTwins()
    images = torch.randn(64, 3, 96, 128)
    noisy, masks = twins(images)
    noise = (noisy - images) * torch.tensor(IMAGENET_DEFAULT_STD).view(3, 1, 1) / 0.2
    field = torch.from_numpy(simplex_noise((3, 12, 16), 0)).float()
    heights, widths = set(), set()
    for added, mask in zip(noise, masks[:, 0], strict=True):
        rows, columns = mask.amax(1).nonzero().flatten(), mask.amax(0).nonzero().flatten()
        height, width = len(rows), len(columns)
        assert mask.sum() == height * width
        assert rows[0] >= 1
        assert columns[0] >= 1
        inside = added[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        torch.testing.assert_close(inside, field[:, :height, :width], rtol=0, atol=1e-4)
        assert not added[:, mask == 0].any()
        heights.add(height)
        widths.add(width)
    # 10 to 31 pixels of 256.
    assert (min(heights), max(heights)) == (4, 12)
    assert (min(widths), max(widths)) == (5, 16)


def test_field_follows_from_the_seed_of_the_run() -> None:
    images, found = torch.zeros(1, 3, 32, 32), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        twins = SimplexTwins()
        torch.manual_seed(0)
        found.append(twins(images)[0])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_larger_images_and_the_smallest() -> None:
    twins = SimplexTwins()
    for size in ((64, 32), (32, 96), (4, 4)):
        noisy, masks = twins(torch.zeros(2, 3, *size))
        assert noisy.shape == (2, 3, *size)
        assert masks.sum((1, 2, 3)).min() >= 1
