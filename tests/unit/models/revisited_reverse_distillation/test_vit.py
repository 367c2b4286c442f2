# SPDX-License-Identifier: Apache-2.0
"""RD++ with a plain vision transformer as the teacher: Dinomaly's training, with projections."""

from pathlib import Path
from typing import Any

import pytest
import torch
from anomalib.models.image.dinomaly.components import StableAdamW
from torch import Tensor
from torch.utils.data import DataLoader

from rd_plugin import RevisitedReverseDistillation
from rd_plugin.components import Tiles
from rd_plugin.models import RevisitedReverseDistillationModel
from rd_plugin.models.reverse_distillation.loss import CosineLoss
from rd_plugin.models.revisited_reverse_distillation.loss import ProjectionLoss

from ..base import SMALL, LightningModelTests, Losses, batch, train
from ..reverse_distillation.test_dinomaly import TINY, TestDinomaly, TestDinomalyModel

# Collected from their own file.
del TestDinomaly
VIT = {"backbone": TINY, "layers": ["blocks.0", "blocks.3"], "student_depth": 2}


class TestProjectedModelOfAViT(TestDinomalyModel):
    network = RevisitedReverseDistillationModel

    def learn(
        self, model: RevisitedReverseDistillationModel, images: Tensor
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        features = model.teacher(images)
        targets, student, *pairs = model.distill_twins(features, images + torch.randn_like(images))
        # Which also sees what a bottleneck leaves out: the contrast is nothing where features differ enough.
        return CosineLoss(mean=True)(targets, student) + ProjectionLoss()(*pairs), targets, student

    # Of two positions, as 16 x 32 pixels have, instance norm keeps only which is higher, and gradients vanish.
    @pytest.mark.parametrize("size", [(64, 64), (48, 80)])
    def test_every_parameter_is_trained(self, model: RevisitedReverseDistillationModel, size: tuple[int, int]) -> None:
        self.check_every_parameter_is_trained(model, size)

    def test_every_group_is_projected_and_no_token_of_the_prefix(self) -> None:
        model = self.build().eval()
        features = model.teacher(torch.randn(2, 3, 32, 48))
        assert len(model.bottleneck.projections) == 2
        assert len(features) == 3
        # The bottleneck averages the groups with those tokens as they are.
        changed = [*features[:2], features[2] + 1]
        assert not torch.equal(model.bottleneck(features)[:, 0], model.bottleneck(changed)[:, 0])


# Likewise.
del TestDinomalyModel


@pytest.mark.slow
class TestProjectedViT(LightningModelTests):
    method = RevisitedReverseDistillation
    limits = (-1, 5000)
    losses = {"distillation_loss", "projection_loss"}  # noqa: RUF012
    half = 0.03
    small = {**SMALL, **VIT, "layers": ["blocks.0"]}  # noqa: RUF012
    layers = ("blocks.0", "blocks.3")
    tiles = Tiles((16, 32), (0, 16))

    def test_optimizer_arguments(self) -> None:
        """Those of Dinomaly."""

    def test_optimizers_are_fused_on_a_cpu(self) -> None:
        """StableAdamW has no such form."""


def test_schedule_moves_both_learning_rates(tmp_path: Path) -> None:
    model = RevisitedReverseDistillation(**SMALL | VIT, projection_learning_rate=0.01)
    rates: list[list[float]] = []

    class Rates(Losses):
        def on_train_batch_start(self, trainer: Any, *rest: object) -> None:
            super().on_train_batch_start(trainer, *rest)
            rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])

    train(model, tmp_path, DataLoader([batch()] * 3, batch_size=None), max_steps=3, callbacks=[Rates()])
    assert isinstance(model.trainer.optimizers[0], StableAdamW)
    assert [rate[1] / rate[0] for rate in rates] == [pytest.approx(5)] * 3
    assert rates[0][0] > rates[-1][0]
