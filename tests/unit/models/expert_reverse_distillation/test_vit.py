# SPDX-License-Identifier: Apache-2.0
"""RD with Expert with a plain vision transformer as the teacher: Dinomaly's bottleneck, student and their training."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from anomalib.models.image.dinomaly.components import StableAdamW
from torch import nn
from torch.utils.data import DataLoader

from rd_plugin import ExpertReverseDistillation
from rd_plugin.components import NoisyBottleneck, TokenStudent
from rd_plugin.models import ExpertReverseDistillationModel

from ..base import batch, train
from ..vit import VIT, ViTModelTests, ViTTests
from .test_lightning_model import check_step_by_hand
from .test_torch_model import ExpertTests


class TestExpertModelOfAViT(ViTModelTests):
    network = ExpertReverseDistillationModel
    learn = ExpertTests.learn


@pytest.mark.slow
class TestExpertViT(ViTTests):
    method = ExpertReverseDistillation
    random_weights = {"train_teacher": False}  # noqa: RUF012
    losses = {"teacher_loss", "student_loss"}  # noqa: RUF012

    def test_optimizer_arguments(self) -> None:
        optimizers, _ = self.build(learning_rate=0.1, betas=(0.8, 0.9)).configure_optimizers()
        assert [type(optimizer) for optimizer in optimizers] == [StableAdamW, torch.optim.Adam]
        assert [optimizer.defaults["lr"] for optimizer in optimizers] == [0.1, 1e-4]
        assert [optimizer.defaults["betas"] for optimizer in optimizers] == [(0.8, 0.9)] * 2

    def test_step_by_hand(self, tmp_path: Path) -> None:
        """The teacher learns first; then the student, with clipped gradients and at the first rate of the schedule."""

        def step(parameters: list[nn.Parameter]) -> None:
            nn.utils.clip_grad_norm_(parameters, max_norm=0.1)
            StableAdamW(parameters, lr=2e-3, betas=(0.9, 0.999), weight_decay=1e-4, amsgrad=True, eps=1e-10).step()

        torch.manual_seed(0)
        model = self.build(pre_processor=False, layers=self.layers, dropout=0.0)
        check_step_by_hand(model, tmp_path, (0.9, 0.999), step)


def build(**arguments: object) -> ExpertReverseDistillation:
    return ExpertReverseDistillation(**{**VIT, **arguments})


def test_bottleneck_and_student_are_those_of_tokens_and_nothing_is_injected() -> None:
    model = build()
    assert isinstance(model.model.bottleneck, NoisyBottleneck)
    assert isinstance(model.model.student, TokenStudent)
    assert model.describe().arguments["injection"] == "none"
    assert build(injection="none").model.injection == "none"
    with pytest.raises(ValueError, match=r"injection 'guided' takes the teacher's next finer scale.*or give 'none'"):
        build(injection="guided")


def test_schedule_follows_the_students_steps(tmp_path: Path) -> None:
    model = build(pre_processor=False)
    train(model, tmp_path, DataLoader([batch()] * 4, batch_size=None), max_steps=4)
    student, teacher = model.trainer.optimizers
    # At the end of half a cosine, a tenth.
    assert student.param_groups[0]["lr"] == pytest.approx(2e-4)
    assert teacher.param_groups[0]["lr"] == 1e-4


def test_teacher_that_stays_as_it_is(tmp_path: Path) -> None:
    model = build(train_teacher=False, pre_processor=False)
    before = deepcopy(model.model.teacher.state_dict())
    train(model, tmp_path, DataLoader([batch()] * 2, batch_size=None), max_steps=2)
    torch.testing.assert_close(model.model.teacher.state_dict(), before, rtol=0, atol=0)
    assert model.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(2e-4)
