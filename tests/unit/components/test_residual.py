# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from rd_plugin.components.pyramid import Residual, Stage
from rd_plugin.components.residual import ResidualBlock, residual_stage

SIZES = {
    "keep": [((6, 8), (6, 8)), ((7, 5), (7, 5))],
    "down": [((6, 8), (3, 4)), ((7, 5), (4, 3)), ((1, 1), (1, 1))],
    "up": [((6, 8), (12, 16)), ((7, 5), (14, 10))],
}


@pytest.mark.parametrize("channels", [8, 16])
@pytest.mark.parametrize(("width", "groups"), [(None, 1), (4, 1), (4, 2)])
@pytest.mark.parametrize(
    ("resample", "size", "expected"),
    [(resample, *sizes) for resample, cases in SIZES.items() for sizes in cases],
)
def test_block_shape_and_range(
    channels: int,
    width: int | None,
    groups: int,
    resample: str,
    size: tuple[int, int],
    expected: tuple[int, int],
) -> None:
    output = ResidualBlock(8, channels, width, groups, resample)(torch.randn(2, 8, *size))
    assert output.shape == (2, channels, *expected)
    assert output.min() >= 0


def test_block_adds_its_input() -> None:
    block = ResidualBlock(4, 4).eval()
    torch.nn.init.zeros_(block.residual[-1].weight)
    features = torch.randn(1, 4, 3, 3)
    assert torch.equal(block(features.clone()), features.relu())


@pytest.mark.parametrize("resample", ["down", "up"])
def test_only_the_first_block_of_a_stage_changes_resolution_and_channels(resample: str) -> None:
    stage = residual_stage(6, Stage("any", 10, 4, Residual(depth=3)), resample)
    output = stage[0](torch.randn(2, 6, 4, 4))
    assert output.shape == (2, 10, 2, 2) if resample == "down" else (2, 10, 8, 8)
    for block in stage[1:]:
        assert block(output).shape == output.shape
    assert len(stage) == 3


def test_groups_split_the_middle_convolution() -> None:
    def count(groups: int) -> int:
        return sum(p.numel() for p in ResidualBlock(8, 8, 8, groups).residual[3].parameters())

    assert count(1) == 4 * count(4)
