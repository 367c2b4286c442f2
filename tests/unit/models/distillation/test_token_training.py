# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from anomalib.models.image.dinomaly.components import StableAdamW

from rd_plugin.models.distillation.schedule import warm_cosine
from rd_plugin.models.distillation.token_training import token_optimizer


def test_each_group_follows_the_schedule_at_its_own_rate() -> None:
    parameters = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    groups = [{"params": [parameter], "lr": rate} for parameter, rate in zip(parameters, (0.1, 0.02), strict=True)]
    optimizer, schedule = token_optimizer(groups, (0.8, 0.9), 200)
    assert isinstance(optimizer, StableAdamW)
    assert all(group["betas"] == (0.8, 0.9) for group in optimizer.param_groups)
    for step in range(200):
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([0.1 * warm_cosine(step, 200), 0.02 * warm_cosine(step, 200)])
        sum(parameter.square().sum() for parameter in parameters).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    # The faster group has come nearer to the least of its loss.
    assert parameters[0].abs().max() < parameters[1].abs().max() < 1
