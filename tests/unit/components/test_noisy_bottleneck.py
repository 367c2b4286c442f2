# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from rd_plugin.components import NoisyBottleneck

FEATURES = [torch.randn(2, 8, 3, 4), torch.randn(2, 8, 3, 4), torch.randn(2, 8, 2, 5)]


@pytest.mark.parametrize("kind", ["noisy", "narrow"])
def test_each_token_by_itself(kind: str) -> None:
    bottleneck = NoisyBottleneck(8, (4, 4), 0.2, kind).eval()
    tokens = bottleneck(FEATURES)
    assert tokens.shape == (2, 5 + 12, 8)
    changed = [FEATURES[0].clone(), *FEATURES[1:]]
    changed[0][0, :, 1, 1] += 9
    differs = (bottleneck(changed) != tokens).any(2)
    assert differs.nonzero().tolist() == [[0, 5 + 4 + 1]]


def test_noise_is_of_the_training_alone() -> None:
    bottleneck = NoisyBottleneck(8, (4, 4), 0.5)
    assert not torch.equal(bottleneck(FEATURES), bottleneck(FEATURES))
    bottleneck.eval()
    assert torch.equal(bottleneck(FEATURES), bottleneck(FEATURES))


def test_first_layer_of_the_second_version_is_narrow() -> None:
    assert NoisyBottleneck(384, (4, 4), 0.4, "narrow").narrow.out_features == 256
    assert NoisyBottleneck(384, (4, 4), 0.4).narrow is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0,), r"dropout must be in \[0, 1\), got 1.0"),
        ((0.2, "oce"), "bottleneck must be 'noisy' or 'narrow' for a plain ViT, got 'oce'"),
    ],
)
def test_arguments_that_cannot_be(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NoisyBottleneck(8, (4, 4), *arguments)
