# SPDX-License-Identifier: Apache-2.0
"""RD++ with a plain vision transformer as the teacher: Dinomaly's training, with projections."""

from pathlib import Path
from typing import Any

import pytest
import torch
from anomalib.models.image.dinomaly.components import StableAdamW
from torch.utils.data import DataLoader

from rd_plugin import RevisitedReverseDistillation

from ..base import Losses, batch, train
from ..vit import VIT, DinomalyModelTests, ViTTests
from .test_torch_model import RevisitedTests


class TestProjectedModelOfAViT(RevisitedTests, DinomalyModelTests):
    sizes = ((64, 64), (48, 80))

    def test_every_group_is_projected_and_no_token_of_the_prefix(self) -> None:
        model = self.build().eval()
        features = model.teacher(torch.randn(2, 3, 32, 48))
        assert len(model.bottleneck.projections) == 2
        assert len(features) == 3
        # The bottleneck averages the groups with those tokens as they are.
        changed = [*features[:2], features[2] + 1]
        assert not torch.equal(model.bottleneck(features)[:, 0], model.bottleneck(changed)[:, 0])


@pytest.mark.slow
class TestProjectedViT(ViTTests):
    method = RevisitedReverseDistillation
    losses = {"distillation_loss", "projection_loss"}  # noqa: RUF012
    half = 0.03


def test_schedule_moves_both_learning_rates(tmp_path: Path) -> None:
    model = RevisitedReverseDistillation(**VIT, projection_learning_rate=0.01)
    rates: list[list[float]] = []

    class Rates(Losses):
        def on_train_batch_start(self, trainer: Any, *rest: object) -> None:
            super().on_train_batch_start(trainer, *rest)
            rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])

    train(model, tmp_path, DataLoader([batch()] * 3, batch_size=None), max_steps=3, callbacks=[Rates()])
    assert isinstance(model.trainer.optimizers[0], StableAdamW)
    assert [rate[1] / rate[0] for rate in rates] == [pytest.approx(5)] * 3
    assert rates[0][0] > rates[-1][0]
