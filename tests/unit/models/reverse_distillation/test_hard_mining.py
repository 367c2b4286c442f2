# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from rd_plugin.models.reverse_distillation.hard_mining import gradient_factors, hold_back
from rd_plugin.models.reverse_distillation.loss import CosineLoss

DEVIATIONS = torch.arange(1.0, 101).reshape(4, 5, 5)


# The program rounds the number of the others down: int(100 * (1 - 0.9)) is 9.
@pytest.mark.parametrize(("step", "held_back"), [(0, 0), (500, 45), (1000, 91), (9999, 91)])
def test_share_grows_over_a_thousand_steps(step: int, held_back: int) -> None:
    factors = gradient_factors(DEVIATIONS, "share", step, 5000)
    assert torch.equal(factors < 1, held_back >= DEVIATIONS)
    assert factors.unique().tolist() == pytest.approx([0.1, 1.0] if held_back else [1.0])


@pytest.mark.parametrize(("step", "number"), [(0, -3), (100, 1), (50, -1), (2000, 1)])
def test_deviations_grow_over_a_tenth_of_the_training(step: int, number: float) -> None:
    factors = gradient_factors(DEVIATIONS, "deviation", step, 1000)
    assert torch.equal(factors == 0, 50.5 + number * DEVIATIONS.std() > DEVIATIONS)


def test_loss_stays_and_its_gradient_does_not() -> None:
    teacher, student = torch.randn(2, 2, 8, 4, 4)
    gradients = []
    for mining in ("off", "share", "deviation"):
        leaf = student.clone().requires_grad_()
        # The student's features are never leaves.
        loss = CosineLoss(mining=mining)([teacher], [1 * leaf], step=500, steps=1000)
        torch.testing.assert_close(loss, CosineLoss()([teacher], [student]))
        loss.backward()
        gradients.append(leaf.grad)
    factors = [gradients[index].norm(dim=1) / gradients[0].norm(dim=1) for index in (1, 2)]
    assert factors[0].round(decimals=4).unique().tolist() == pytest.approx([0.1, 1.0])
    assert factors[1].round(decimals=4).unique().tolist() == [0, 1]


@torch.no_grad()
def test_nothing_is_held_back_without_gradient() -> None:
    features = torch.randn(1, 2, 2, 2)
    hold_back(features, features, "share", 9, 9)


def test_unknown_mining() -> None:
    with pytest.raises(ValueError, match="hard_mining must be 'off', 'share' or 'deviation', got 'hard'"):
        CosineLoss(mining="hard")


@pytest.mark.parametrize("kind", ["share", "deviation"])
def test_positions_outside_the_region_are_not_among_the_hardest(kind: str) -> None:
    wide = torch.cat([DEVIATIONS, torch.full_like(DEVIATIONS, 1000)], dim=2)
    factors = gradient_factors(wide, kind, 2000, 1000, wide < 1000)
    assert torch.equal(factors[..., :5], gradient_factors(DEVIATIONS, kind, 2000, 1000))
    teacher = torch.randn(2, 8, 4, 4)
    teacher[..., 2:] = 0
    leaf = torch.randn(2, 8, 4, 4, requires_grad=True)
    CosineLoss(mining=kind)([teacher], [leaf * (teacher != 0)], step=2000, steps=1000).backward()
    assert not leaf.grad[..., 2:].any()
    assert leaf.grad[..., :2].any()
