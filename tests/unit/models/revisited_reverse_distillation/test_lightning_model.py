# SPDX-License-Identifier: Apache-2.0
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from rd_plugin import RevisitedReverseDistillation
from rd_plugin.models.reverse_distillation.loss import CosineLoss
from rd_plugin.models.revisited_reverse_distillation.loss import ProjectionLoss
from rd_plugin.synthetic import SimplexTwins

from ..base import Losses, SlowCacheTests, batch, train

# No resizing to 256 x 256, which is what the default pre-processor does.
RAW = {"pre_processor": False}


class TestRevisitedReverseDistillation(SlowCacheTests):
    method = RevisitedReverseDistillation
    limits = (200, -1)
    losses = {"distillation_loss", "projection_loss"}  # noqa: RUF012
    # The projection's loss is the small difference that a little noise makes.
    half = 0.03

    def test_projection_has_its_own_learning_rate(self) -> None:
        model = self.build()
        optimizer = model.configure_optimizers()
        projection = {id(parameter) for parameter in model.model.bottleneck.projections.parameters()}
        rates = {group["lr"]: {id(parameter) for parameter in group["params"]} for group in optimizer.param_groups}
        assert rates.keys() == {0.005, 0.001}
        assert rates[0.001] == projection
        trained = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
        assert rates[0.005] == trained - projection
        assert {group["betas"] for group in optimizer.param_groups} == {(0.5, 0.999)}
        others = self.build(projection_learning_rate=0.3, learning_rate=0.2).configure_optimizers().param_groups
        assert [group["lr"] for group in others] == [0.2, 0.3]

    @pytest.mark.parametrize("optimal_transport", [False, True])
    def test_step_by_hand(self, tmp_path: Path, optimal_transport: bool) -> None:
        model = self.build(**RAW, layers=["layer1", "layer2"], optimal_transport=optimal_transport)
        twin, images, losses = deepcopy(model.model).train(), batch(), Losses()
        torch.manual_seed(1)
        train(model, tmp_path, DataLoader([images], batch_size=None), max_steps=1, callbacks=[losses])

        torch.manual_seed(1)
        twins = SimplexTwins()
        torch.manual_seed(0)
        noisy, _ = twins(images.image)
        teacher = twin.teacher(images.image)
        targets, student, *pairs = twin.distill_twins(teacher, noisy)
        distillation, projection = CosineLoss()(targets, student), ProjectionLoss(optimal_transport)(*pairs)
        (distillation + 0.2 * projection).backward()
        others = [*twin.bottleneck.bottleneck.parameters(), *twin.student.parameters()]
        optimizer = torch.optim.Adam(others, lr=0.005, betas=(0.5, 0.999), fused=True)
        optimizer.add_param_group({"params": list(twin.bottleneck.projections.parameters()), "lr": 0.001})
        optimizer.step()

        assert losses.values["distillation_loss"] == [pytest.approx(distillation.item(), rel=1e-5)]
        assert losses.values["projection_loss"] == [pytest.approx(projection.item(), rel=1e-5)]
        torch.testing.assert_close(model.model.state_dict(), twin.state_dict(), rtol=0, atol=1e-5)

    def test_coarsest_scale_alone(self, tmp_path: Path) -> None:
        model = self.build(**RAW, layers=["layer1", "layer2"], bottleneck="oce")
        self.check_training_lowers_the_losses(model, tmp_path)

    def test_tiles_are_trained_on(self, tmp_path: Path) -> None:
        trainer = train(self.build(tile_size=16), tmp_path, max_steps=1)
        assert trainer.global_step == 1

    def test_bfloat16_training(self, tmp_path: Path) -> None:
        model = self.build(**RAW, layers=["layer1", "layer2"], optimal_transport=True)
        train(model, tmp_path, max_steps=2, precision="bf16-mixed")
        assert all(parameter.isfinite().all() for parameter in model.parameters())
