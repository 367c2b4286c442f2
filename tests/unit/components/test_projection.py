# SPDX-License-Identifier: Apache-2.0
import torch

from rd_plugin.components.projection import random_directions


def test_directions_are_orthonormal() -> None:
    directions = random_directions(300, 20)
    torch.testing.assert_close(directions.T @ directions, torch.eye(20))


def test_directions_are_the_same_whatever_the_seed() -> None:
    torch.manual_seed(1)
    first = random_directions(30, 5)
    state = torch.get_rng_state()
    assert torch.equal(random_directions(30, 5), first)
    assert torch.equal(torch.get_rng_state(), state)
