# SPDX-License-Identifier: Apache-2.0
"""Running statistics of batch norm are those of all processes."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn

from rd_plugin.callbacks.running_statistics import RunningStatistics


class _Module(nn.Sequential):
    """A layer that is frozen, and one that is trained."""

    def __init__(self) -> None:
        super().__init__(nn.BatchNorm2d(2), nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
        self[0].requires_grad_(requires_grad=False)
        for layer in (self[0], self[2]):
            layer.running_mean.fill_(1.0)
            layer.running_var.fill_(3.0)


def _mean_with_zeros(values: torch.Tensor, reduce_op: str) -> torch.Tensor:
    """What two processes give, of which the other has zeros."""
    assert reduce_op == "mean"
    return values / 2


def _trainer(processes: int, fn: TrainerFn = TrainerFn.FITTING) -> SimpleNamespace:
    strategy = SimpleNamespace(reduce=_mean_with_zeros)
    return SimpleNamespace(world_size=processes, strategy=strategy, state=SimpleNamespace(fn=fn))


@pytest.mark.parametrize("hook", ["on_validation_start", "on_train_epoch_end"])
def test_processes_get_the_mean_of_trained_layers(hook: str) -> None:
    module = _Module()
    getattr(RunningStatistics(), hook)(_trainer(2), module)
    assert module[2].running_mean.tolist() == [0.5] * 3
    assert module[2].running_var.tolist() == [1.5] * 3
    assert module[0].running_mean.tolist() == [1.0] * 2


def test_one_process_and_a_validation_alone_change_nothing() -> None:
    module = _Module()
    RunningStatistics().on_validation_start(_trainer(1), module)
    RunningStatistics().on_validation_start(_trainer(2, TrainerFn.VALIDATING), module)
    assert module[2].running_mean.tolist() == [1.0] * 3
