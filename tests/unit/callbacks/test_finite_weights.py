# SPDX-License-Identifier: Apache-2.0
"""Weights that are not finite are never written over a good checkpoint."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from rd_plugin.callbacks import FiniteWeights


class _Module(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Linear(2, 2)


def test_finite_weights_are_written() -> None:
    FiniteWeights().on_save_checkpoint(SimpleNamespace(global_step=3), _Module(), {})


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_others_are_not(value: float) -> None:
    module = _Module()
    module.model.bias.data[0] = value
    with pytest.raises(ValueError, match="1 weights are not finite after step 3, bias among them"):
        FiniteWeights().on_save_checkpoint(SimpleNamespace(global_step=3), module, {})
