# SPDX-License-Identifier: Apache-2.0
import numpy as np
import torch

from rd_plugin.models.fused_reverse_distillation.position_weights import PositionWeights


def computed(normal: torch.Tensor, shifted: torch.Tensor) -> PositionWeights:
    """Weights from images one by one, each with as many shifted copies."""
    positions = PositionWeights()
    for one, copies in zip(normal.split(1), shifted.split(len(shifted) // len(normal)), strict=True):
        positions.update(one, copies)
    positions.compute()
    return positions


def test_evidence_stays_as_it_is_until_there_are_weights() -> None:
    evidence, positions = torch.rand(2, 3, 4, 5), PositionWeights()
    assert torch.equal(positions(evidence), evidence)
    positions.compute()
    assert torch.equal(positions(evidence), evidence)
    shifted = 2 * torch.rand(4, 3, 4, 5)
    positions.update(evidence, shifted)
    positions.compute()
    assert torch.equal(positions(evidence), evidence), "a single image says nothing of its reliability"
    positions.update(evidence, shifted)
    positions.compute()
    assert not torch.equal(positions(evidence), evidence)
    positions.reset()
    assert torch.equal(positions(evidence), evidence)


def test_weights_are_those_of_the_formula() -> None:
    raised = torch.rand(2, 4, 6)
    normal = torch.rand(5, 2, 4, 6) + 0.1
    shifted = normal.repeat_interleave(3, 0) * (1 + raised + torch.rand(15, 2, 4, 6))
    weights = computed(normal, shifted).weights
    copies = shifted.unflatten(0, (5, 3)).mean(1)
    for kind in (0, 1):
        first, second = (copies[half::2, kind].mean(0) / normal[half::2, kind].mean(0) for half in (0, 1))
        correlation = np.corrcoef(first.log().flatten(), second.log().flatten())[0, 1]
        assert 0.3 < correlation < 0.99
        ratio = copies[:, kind].mean(0) / normal[:, kind].mean(0)
        expected = (ratio.median() / ratio).numpy() ** (2 * correlation / (1 + correlation))
        np.testing.assert_allclose(weights[kind], np.minimum(expected, 1), rtol=1e-5)


def test_what_halves_of_the_images_disagree_about_changes_nothing() -> None:
    # What a shift does at a position in one image, it does elsewhere in the next: layouts differ.
    normal = torch.ones(8, 1, 6, 6)
    shifted = normal.clone()
    shifted[0::2, :, :, :3] = 3
    shifted[1::2, :, :, 3:] = 3
    torch.testing.assert_close(computed(normal, shifted).weights, torch.ones(1, 6, 6))


def test_units_of_a_kind_do_not_matter_and_no_position_gains() -> None:
    normal = torch.rand(4, 2, 6, 6) + 0.1
    shifted = normal + torch.rand(4, 2, 6, 6)
    positions = computed(normal, shifted)
    units = torch.tensor([0.01, 50.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(computed(units * normal, units * shifted).weights, positions.weights)
    assert positions.weights.amax() == 1
    assert positions.weights.amin() > 0


def test_shift_that_does_the_same_everywhere_changes_nothing() -> None:
    normal = torch.rand(4, 1, 6, 6) + 0.1
    torch.testing.assert_close(computed(normal, 3 * normal).weights, torch.ones(1, 6, 6))


def test_what_a_shift_brings_in_at_the_border_is_no_defect_any_more() -> None:
    normal = torch.full((4, 1, 8, 8), 1.0)
    shifted = normal.clone()
    shifted[..., 0] = 6.0
    defect = normal.clone()
    defect[..., 4, 4] = 3.0
    positions = computed(normal, shifted)
    assert defect.amax() < shifted.amax()
    assert positions(defect).amax() > positions(shifted).amax()


def test_outside_the_region_of_interest_counts_for_nothing() -> None:
    normal = torch.ones(3, 1, 4, 4)
    shifted = 2 * normal
    shifted[..., 3] = 8
    # More than half of the positions.
    outside = torch.zeros(4, 4, dtype=torch.bool)
    outside[:, :2] = True
    outside[0] = True
    positions = computed(normal.masked_fill(outside, 0), shifted.masked_fill(outside, 0))
    assert torch.equal(positions.weights[0, outside], torch.ones(int(outside.sum())))
    torch.testing.assert_close(positions.weights[0, 1:, 2:], torch.tensor([[1, 0.25]] * 3))


def test_weights_are_restored() -> None:
    positions = computed(torch.rand(2, 3, 4, 5) + 0.1, torch.rand(2, 3, 4, 5) + 0.2)
    again = PositionWeights()
    again.load_state_dict(positions.state_dict())
    evidence = torch.rand(1, 3, 4, 5)
    assert torch.equal(again(evidence), positions(evidence))
