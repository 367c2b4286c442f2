# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import Tensor

from rd_plugin.models.fused_reverse_distillation.fusion import Fusion


def evidence(count: int, *spreads: float) -> Tensor:
    """Evidence (N, kinds, 8, 8) of good images whose highest values spread as given."""
    drawn = torch.rand(count, len(spreads), 8, 8, generator=torch.Generator().manual_seed(count))
    drawn[:, :, 3, 3] = 5 + torch.tensor(spreads) * torch.linspace(-1, 1, count).unsqueeze(1)
    return drawn


def learned(good: Tensor, shares: list[float] | None = None) -> Fusion:
    fusion = Fusion(shares or [1 / good.shape[1]] * good.shape[1])
    fusion.learn(good)
    return fusion


def test_weights_are_inverse_to_how_the_highest_values_spread() -> None:
    weights = learned(evidence(40, 0.1, 1, 2)).weights
    assert weights.sum() == pytest.approx(1)
    assert (weights / weights[1]).tolist() == pytest.approx([10, 1, 0.5])
    weights = learned(evidence(40, 0.1, 1, 2), [0.1, 0.4, 0.5]).weights
    assert (weights / weights[1]).tolist() == pytest.approx([2.5, 1, 0.625])


def test_units_do_not_matter() -> None:
    good, units = evidence(40, 0.1, 1, 2), torch.tensor([7.0, 0.01, 3.0]).view(3, 1, 1)
    maps, in_other_units = learned(good)(good), learned(good * units)(good * units)
    torch.testing.assert_close(in_other_units / in_other_units.mean(), maps / maps.mean())


def test_kind_that_never_varies_tells_nothing() -> None:
    assert learned(evidence(40, 1, 0, 1)).weights.tolist() == pytest.approx([0.5, 0, 0.5])
    assert learned(evidence(40, 0, 0)).weights.tolist() == pytest.approx([0.5, 0.5])


def test_a_single_good_image_gives_weights_by_its_highest_values() -> None:
    good = torch.ones(1, 2, 4, 4) * torch.tensor([1.0, 3.0]).view(2, 1, 1)
    assert learned(good).weights.tolist() == pytest.approx([0.75, 0.25])


def test_map_is_the_root_of_the_weighted_sum() -> None:
    fusion = Fusion([0.25] * 4)
    assert fusion.weights.tolist() == [0.25] * 4
    fusion.weights = torch.tensor([0.4, 0.3, 0.2, 0.1])
    found = fusion(torch.tensor([1.0, 4.0, 8.0, 2.0]).view(1, 4, 1, 1))
    assert found.item() == pytest.approx((0.4 * 1 + 0.3 * 4 + 0.2 * 8 + 0.1 * 2) ** 0.5)
