# SPDX-License-Identifier: Apache-2.0
"""Buffers that take the shapes of what is loaded."""

import pytest
import torch
from torch import nn

from rd_plugin.components.buffers import DynamicBuffers


class Statistics(DynamicBuffers):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("count", torch.tensor(0))
        self.weight = nn.Parameter(torch.zeros(2))


def test_shapes_are_taken_from_the_state_within_a_model() -> None:
    model, other = nn.ModuleDict({"part": Statistics()}), nn.ModuleDict({"part": Statistics()})
    other["part"].mean = torch.arange(6.0).reshape(2, 3)
    model.load_state_dict(other.state_dict())
    assert model["part"].mean.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert model["part"].mean.dtype == torch.float64


def test_parameters_keep_their_shapes() -> None:
    state = {**Statistics().state_dict(), "weight": torch.zeros(3)}
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        Statistics().load_state_dict(state)
