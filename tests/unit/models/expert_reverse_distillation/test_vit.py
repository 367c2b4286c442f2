# SPDX-License-Identifier: Apache-2.0
"""RD with Expert with a plain vision transformer as the teacher: Dinomaly's bottleneck, student and their training."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from anomalib.models.image.dinomaly.components import StableAdamW
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rd_plugin import ExpertReverseDistillation
from rd_plugin.components import NoisyBottleneck, Tiles, TokenStudent
from rd_plugin.models import ExpertReverseDistillationModel
from rd_plugin.models.expert_reverse_distillation.loss import StudentLoss, TeacherLoss
from rd_plugin.models.expert_reverse_distillation.torch_model import features_of_both
from rd_plugin.synthetic import TwinGenerator

from ..base import SMALL, LightningModelTests, Losses, TorchModelTests, batch, train

TINY = "test_vit"
VIT = {"backbone": TINY, "layers": ["blocks.0", "blocks.3"], "student_depth": 2}


class TestExpertModelOfAViT(TorchModelTests):
    network = ExpertReverseDistillationModel
    arguments = {"student_depth": 2}  # noqa: RUF012
    backbone = TINY
    layers = ("blocks.0", "blocks.3")

    def learn(self, model: ExpertReverseDistillationModel, images: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        twins = images + torch.randn_like(images)
        masks = torch.rand(len(images), 1, *images.shape[-2:]).round()
        expert = [model.targets(each) for each in features_of_both(model.teacher.expert(), images, twins)]
        teacher, *students = model.distill_twins(images, twins)
        loss = StudentLoss()([teacher, expert[0]], students)
        return loss + TeacherLoss()(model.teach(images, twins), tuple(expert), masks), teacher, students[0]

    @pytest.fixture(scope="class", params=[TINY, "test_vit4"])
    @classmethod
    def model(cls, request: pytest.FixtureRequest) -> ExpertReverseDistillationModel:
        torch.manual_seed(0)
        return cls.build(request.param)

    @pytest.mark.parametrize("size", [(64, 64), (48, 80), (16, 32)])
    def test_every_parameter_is_trained(self, model: ExpertReverseDistillationModel, size: tuple[int, int]) -> None:
        self.check_every_parameter_is_trained(model, size)

    @pytest.mark.parametrize("layers", [["blocks.0"], ["blocks.1", "blocks.4"]])
    def test_chosen_layers(self, layers: list[str]) -> None:
        model = self.build(layers=layers)
        self.check_every_parameter_is_trained(model, (48, 32))
        self.check_prediction(model, (48, 32))


@pytest.mark.slow
class TestExpertViT(LightningModelTests):
    method = ExpertReverseDistillation
    random_weights = {"train_teacher": False}  # noqa: RUF012
    limits = (-1, 5000)
    losses = {"teacher_loss", "student_loss"}  # noqa: RUF012
    small = {**SMALL, **VIT, "layers": ["blocks.0"]}  # noqa: RUF012
    layers = ("blocks.0", "blocks.3")
    tiles = Tiles((16, 32), (0, 16))

    def test_optimizer_arguments(self) -> None:
        optimizers, _ = self.build(learning_rate=0.1, betas=(0.8, 0.9)).configure_optimizers()
        assert [type(optimizer) for optimizer in optimizers] == [StableAdamW, torch.optim.Adam]
        assert [optimizer.defaults["lr"] for optimizer in optimizers] == [0.1, 1e-4]
        assert [optimizer.defaults["betas"] for optimizer in optimizers] == [(0.8, 0.9)] * 2

    def test_optimizers_are_fused_on_a_cpu(self) -> None:
        """StableAdamW has no such form."""

    def test_step_by_hand(self, tmp_path: Path) -> None:
        """The teacher learns first; then the student, with clipped gradients and at the first rate of the schedule."""
        torch.manual_seed(0)
        model = self.build(pre_processor=False, layers=self.layers, dropout=0.0)
        twin, images, losses = deepcopy(model.model), batch(), Losses()
        train(model, tmp_path, DataLoader([images], batch_size=None), max_steps=1, callbacks=[losses])

        torch.manual_seed(0)
        twins, masks = TwinGenerator()(images.image)
        # As the training does it, to the bit: a first step of Adam follows the sign of the smallest gradient.
        net = twin.teacher.expert()
        expert = twin.targets(net(images.image)), twin.targets(net(twins))
        first = TeacherLoss()(twin.teach(images.image, twins), expert, masks)
        first.backward()
        torch.optim.Adam(twin.teacher.parameters(), lr=1e-4, betas=(0.9, 0.999), fused=True).step()
        teacher, *students = twin.train().distill_twins(images.image, twins)
        second = StudentLoss()([teacher, expert[0]], students)
        second.backward()
        parameters = [*twin.bottleneck.parameters(), *twin.student.parameters()]
        nn.utils.clip_grad_norm_(parameters, max_norm=0.1)
        StableAdamW(parameters, lr=2e-3, betas=(0.9, 0.999), weight_decay=1e-4, amsgrad=True, eps=1e-10).step()
        assert losses.values["teacher_loss"] == [pytest.approx(first.item(), rel=1e-5)]
        assert losses.values["student_loss"] == [pytest.approx(second.item(), rel=1e-5)]
        torch.testing.assert_close(model.model.state_dict(), twin.state_dict(), rtol=0, atol=1e-5)


def build(**arguments: object) -> ExpertReverseDistillation:
    return ExpertReverseDistillation(**{**SMALL, **VIT, **arguments})


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
