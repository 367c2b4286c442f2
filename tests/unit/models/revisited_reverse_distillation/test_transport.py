# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rd_plugin.models.revisited_reverse_distillation.transport import map_transport, sinkhorn_divergence

# Those of the authors' program.
SETTINGS = {"blur": 0.05, "diameter": 1e7, "scaling": 0.95}


@pytest.fixture(scope="module")
def sets(golden: Path) -> dict[str, Tensor]:
    with np.load(golden / "rdpp_resnet18.npz") as arrays:
        return {
            name: torch.from_numpy(np.asarray(arrays[name])).double() for name in arrays if name.startswith("sinkhorn")
        }


def of_points(first: Tensor, second: Tensor) -> Tensor:
    weights = tuple(torch.full((1, len(points)), 1 / len(points), dtype=points.dtype) for points in (first, second))
    pairs = ((first, second), (first, first), (second, second))
    return sinkhorn_divergence(weights, tuple(torch.cdist(*pair).square() / 2 for pair in pairs), **SETTINGS)


def test_divergence_of_the_authors_program(sets: dict[str, Tensor]) -> None:
    first, second = sets["sinkhorn_first"], sets["sinkhorn_second"]
    torch.testing.assert_close(of_points(first, second)[0], sets["sinkhorn_divergence"], rtol=1e-4, atol=0)


def test_same_points_in_another_order_are_the_same_measure(sets: dict[str, Tensor]) -> None:
    """Which is why the authors' term is nothing: it compares a batch with its own permutation."""
    points = sets["sinkhorn_first"]
    assert of_points(points, points.roll(1, dims=0)).abs() < 1e-9


def test_gradient_is_that_of_the_value() -> None:
    torch.manual_seed(0)
    points = torch.rand(6, 2, dtype=torch.double)
    cost = torch.cdist(points, points).square() / 2
    logits = torch.randn(2, 6, dtype=torch.double, requires_grad=True)

    def divergence(logits: Tensor) -> Tensor:
        first, second = logits.softmax(-1)[:, None]
        return sinkhorn_divergence((first, second), (cost, cost, cost), blur=0.5, scaling=0.99)

    assert torch.autograd.gradcheck(divergence, logits, rtol=1e-3, atol=1e-4)


def map_with_peak(row: int, column: int, side: int = 32) -> Tensor:
    features = torch.zeros(1, 4, side, side)
    features[:, 1, row, column] = 20
    return features


def test_maps_differ_by_how_far_apart_their_mass_is() -> None:
    here = map_with_peak(4, 4)
    assert map_transport(here, here).abs() < 1e-6
    near, far = (map_transport(here, map_with_peak(4, column)).item() for column in (12, 28))
    # Half the square of the distance in units of the side, but for the little mass elsewhere.
    assert near == pytest.approx(0.25**2 / 2, rel=0.05)
    assert far == pytest.approx(0.75**2 / 2, rel=0.05)
