# SPDX-License-Identifier: Apache-2.0
import numpy as np
import torch

from rd_plugin.components.scale import bend, straighten


def test_order_is_kept_far_above_the_threshold() -> None:
    linear = torch.linspace(0, 200, 2001)
    scores = bend(linear)
    assert bool((scores.diff() > 0).all())
    assert bool((scores < 1).all())


def test_value_and_slope_continue_at_the_threshold() -> None:
    below, at, above = bend(torch.tensor([0.499, 0.5, 0.501], dtype=torch.float64)).tolist()
    assert at == 0.5
    assert abs((above - at) - (at - below)) < 1e-5


def test_inverse() -> None:
    linear = np.array([0.0, 0.2, 0.5, 0.51, 1.0, 30.0])
    np.testing.assert_allclose(straighten(bend(torch.from_numpy(linear)).numpy()), linear, rtol=1e-9)
    assert straighten(0.75) == 1.0
    assert straighten(1.0) == np.inf
