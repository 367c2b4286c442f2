# SPDX-License-Identifier: Apache-2.0
import torch

from rd_plugin.components.scale import bend


def test_order_is_kept_far_above_the_threshold() -> None:
    linear = torch.linspace(0, 200, 2001)
    scores = bend(linear)
    assert bool((scores.diff() > 0).all())
    assert bool((scores < 1).all())


def test_value_and_slope_continue_at_the_threshold() -> None:
    below, at, above = bend(torch.tensor([0.499, 0.5, 0.501], dtype=torch.float64)).tolist()
    assert at == 0.5
    assert abs((above - at) - (at - below)) < 1e-5
