# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import Tensor

from rd_plugin.models.fused_reverse_distillation.fusion import Fusion


def highest(count: int, *spreads: float) -> Tensor:
    """Highest values (N, kinds) in normal images, which spread as given."""
    return 5 + torch.tensor(spreads) * torch.linspace(-1, 1, count).unsqueeze(1)


def fitted(normal: Tensor, twins: Tensor, prior: list[float] | None = None) -> Fusion:
    fusion = Fusion(prior or [1 / normal.shape[1]] * normal.shape[1])
    fusion.fit(normal, twins)
    return fusion


def test_kinds_that_see_alike_are_weighted_by_prior_and_spread() -> None:
    normal = highest(40, 0.1, 1, 2)
    weights = fitted(normal, normal + 9).weights
    assert weights.sum() == pytest.approx(1)
    assert (weights / weights[1]).tolist() == pytest.approx([10, 1, 0.5])
    weights = fitted(normal, normal + 9, [0.1, 0.4, 0.5]).weights
    assert (weights / weights[1]).tolist() == pytest.approx([2.5, 1, 0.625])


def test_kinds_that_spread_alike_are_weighted_by_the_square_of_what_they_see() -> None:
    normal = torch.arange(4.0).unsqueeze(1).expand(4, 3)
    # Higher than all, than three of four, and than two of four normal images: AUROC 1, 0.75 and 0.5.
    weights = fitted(normal, torch.tensor([[9.0, 2.5, 1.5]])).weights
    assert weights.tolist() == pytest.approx([0.8, 0.2, 0])


def test_kind_that_is_noise_gets_next_to_no_weight() -> None:
    torch.manual_seed(0)
    normal = torch.rand(64, 2)
    twins = torch.rand(128, 2) + torch.tensor([0.8, 0.0])
    assert fitted(normal, twins).weights[1] < 0.02


def test_units_do_not_matter() -> None:
    normal, units = highest(40, 0.1, 1, 2), torch.tensor([7.0, 0.01, 3.0])
    twins = normal + torch.tensor([0.1, 0.2, 0.3])
    weights, in_other_units = fitted(normal, twins).weights, fitted(normal * units, twins * units).weights
    torch.testing.assert_close(in_other_units * units / (in_other_units * units).sum(), weights)


def test_kind_that_says_the_same_of_every_image_gets_no_weight() -> None:
    normal = highest(40, 1, 0, 1)
    assert fitted(normal, normal + 9).weights.tolist() == pytest.approx([0.5, 0, 0.5])
    constant = highest(40, 0, 0)
    assert fitted(constant, constant + 9).weights.tolist() == pytest.approx([0.5, 0.5])


def test_without_a_kind_that_sees_anything_spread_decides() -> None:
    normal = highest(40, 1, 3)
    assert fitted(normal, normal - 9).weights.tolist() == pytest.approx([0.75, 0.25])


def test_a_single_normal_image_gives_weights_by_its_highest_values() -> None:
    normal = torch.tensor([[1.0, 3.0]])
    assert fitted(normal, normal + 1).weights.tolist() == pytest.approx([0.75, 0.25])


def test_map_is_the_root_of_the_weighted_sum() -> None:
    fusion = Fusion([0.25] * 4)
    assert fusion.weights.tolist() == [0.25] * 4
    fusion.weights = torch.tensor([0.4, 0.3, 0.2, 0.1])
    found = fusion(torch.tensor([1.0, 4.0, 8.0, 2.0]).view(1, 4, 1, 1))
    assert found.item() == pytest.approx((0.4 * 1 + 0.3 * 4 + 0.2 * 8 + 0.1 * 2) ** 0.5)
