# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn

from rd_plugin.models.revisited_reverse_distillation.projection import ProjectedBottleneck, Projection


class Last(nn.Module):
    def forward(self, features: list) -> torch.Tensor:
        return features[-1]


def test_projection_narrows_to_a_quarter_and_keeps_the_shape() -> None:
    projection = Projection(8)
    assert [layer.out_channels for layer in projection if isinstance(layer, nn.Conv2d)] == [4, 2, 4, 8]
    assert projection(torch.randn(2, 8, 5, 3)).shape == (2, 8, 5, 3)
    assert Projection(1)(torch.randn(1, 1, 2, 1)).shape == (1, 1, 2, 1)


@torch.no_grad()
def test_each_image_is_normalized_by_itself_in_evaluation_too() -> None:
    projection, features = Projection(8), torch.randn(2, 8, 6, 6)
    expected = projection(features)
    actual = projection.eval()(torch.cat([features[1:], 5 * features[:1]]))
    torch.testing.assert_close(actual, expected.flip(0), rtol=0, atol=1e-4)


@torch.no_grad()
def test_bottleneck_takes_the_projected_scales() -> None:
    module = ProjectedBottleneck([8, 16], Last(), 3)
    features = [torch.randn(2, channels, 8 // stride, 8 // stride) for channels, stride in ((4, 1), (8, 2), (16, 4))]
    projected = module.project(features)
    assert [each.shape for each in projected] == [each.shape for each in features[1:]]
    assert torch.equal(module(features), module.projections[1](features[2]))


@torch.no_grad()
def test_tokens_without_a_grid_are_not_projected() -> None:
    module = ProjectedBottleneck([8, 8], Last(), 2)
    features = [torch.randn(2, 8, 4, 4), torch.randn(2, 8, 4, 4), torch.randn(2, 8, 2, 5)]
    assert len(module.project(features)) == 2
    assert torch.equal(module(features), features[2])


def test_single_position_is_refused() -> None:
    with pytest.raises(ValueError, match="images must be larger than one stride of the last layer"):
        ProjectedBottleneck([4], Last(), 1).project([torch.randn(2, 4, 1, 1)])
