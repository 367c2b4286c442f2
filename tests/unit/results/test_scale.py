# SPDX-License-Identifier: Apache-2.0
import numpy as np
import torch

from rd_plugin.components.scale import bend
from rd_plugin.results import straighten


def test_inverse() -> None:
    linear = np.array([0.0, 0.2, 0.5, 0.51, 1.0, 30.0])
    np.testing.assert_allclose(straighten(bend(torch.from_numpy(linear)).numpy()), linear, rtol=1e-9)
    assert straighten(0.75) == 1.0
    assert straighten(1.0) == np.inf
