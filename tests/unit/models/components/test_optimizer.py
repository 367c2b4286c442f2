# SPDX-License-Identifier: Apache-2.0
import copy
from typing import Any

import pytest
import torch
from torch import nn, optim
from torch.profiler import ProfilerActivity, profile

from rd_plugin.models.components import ChannelsLastAdam

# Convolutions of all kinds, also with sizes that no vector of a processor divides, a batch norm and a linear layer.
LAYERS = nn.Sequential(
    nn.Conv2d(3, 7, 3),
    nn.BatchNorm2d(7),
    nn.Conv2d(7, 5, 1),
    nn.ConvTranspose2d(5, 6, 4, stride=2),
    nn.Conv2d(6, 6, 3, groups=6),
    nn.Conv2d(6, 1, 1),
    nn.Flatten(),
    nn.Linear(100, 2),
)


def trained(kind: type[optim.Adam], memory_format: torch.memory_format, **arguments: Any) -> tuple[nn.Module, dict]:
    """The same layers after the same five steps, and the optimizer's state."""
    torch.manual_seed(0)
    network = copy.deepcopy(LAYERS).to(memory_format=memory_format)
    groups = [
        {"params": [p for p in network.parameters() if p.dim() == 4]},
        {"params": [p for p in network.parameters() if p.dim() < 4], "lr": 0.02},
    ]
    optimizer = kind(groups, lr=0.01, betas=(0.5, 0.999), **arguments)
    for _ in range(5):
        optimizer.zero_grad()
        images = torch.randn(4, 3, 7, 7).to(memory_format=memory_format)
        network(images).square().mean().backward()
        optimizer.step()
    return network, optimizer.state_dict()["state"]


@pytest.mark.parametrize("arguments", [{}, {"amsgrad": True}, {"weight_decay": 0.1}], ids=str)
@pytest.mark.parametrize("implementation", [{"fused": True}, {"foreach": True}, {"foreach": False}], ids=str)
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format], ids=str)
def test_weights_and_state_are_those_of_adam(
    memory_format: torch.memory_format, implementation: dict, arguments: dict
) -> None:
    ours, our_state = trained(ChannelsLastAdam, memory_format, **implementation, **arguments)
    theirs, their_state = trained(optim.Adam, memory_format, **implementation, **arguments)
    for (name, weight), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert not torch.equal(weight, LAYERS.get_parameter(name))
        assert torch.equal(weight, other), name
    for index, values in their_state.items():
        for key, value in values.items():
            assert torch.equal(our_state[index][key], value), (index, key)
            assert our_state[index][key].stride() == value.stride(), (index, key)


def test_no_gradient_is_copied() -> None:
    weight = nn.Parameter(torch.ones(8, 4, 3, 3).to(memory_format=torch.channels_last))
    weight.grad = torch.ones_like(weight)
    optimizer = ChannelsLastAdam([weight], fused=True)
    optimizer.step()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        optimizer.step()
    names = {event.name for event in profiled.events()}
    assert "aten::_fused_adam_" in names
    assert "aten::clone" not in names


def test_a_gradient_in_another_layout() -> None:
    weights = []
    for kind in (optim.Adam, ChannelsLastAdam):
        weight = nn.Parameter(torch.linspace(0, 1, 8 * 4 * 9).view(8, 4, 3, 3).to(memory_format=torch.channels_last))
        # As DDP's buckets hand it back.
        weight.grad = torch.linspace(1, -1, 8 * 4 * 9).view(8, 4, 3, 3)
        kind([weight], lr=0.1, fused=True).step()
        weights.append(weight)
    assert torch.equal(*weights)
