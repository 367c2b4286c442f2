# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import Tensor

from rd_plugin.models import ExpertReverseDistillationModel
from rd_plugin.models.expert_reverse_distillation.injection import InformationInjection
from rd_plugin.models.expert_reverse_distillation.loss import StudentLoss, TeacherLoss
from rd_plugin.models.expert_reverse_distillation.torch_model import features_of_both

from ..base import ONE_BACKBONE, TWO_BACKBONES, TorchModelTests


def build(**arguments: object) -> ExpertReverseDistillationModel:
    return ExpertReverseDistillationModel(
        "test_resnet", **{"layers": ["layer1", "layer2"], "pre_trained": False, **arguments}
    )


class ExpertTests(TorchModelTests):
    network = ExpertReverseDistillationModel

    @classmethod
    def build(cls, backbone: str = "test_resnet", **arguments: object) -> ExpertReverseDistillationModel:
        model = super().build(backbone, **arguments)
        # timm starts the last batch norm of a ResNet's block at zero, and the block would get no gradient.
        for parameter in model.teacher.parameters():
            if parameter.ndim == 1 and not parameter.any():
                torch.nn.init.uniform_(parameter, 0.5, 1.5)
        return model

    def learn(self, model: ExpertReverseDistillationModel, images: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        twins = images + torch.randn_like(images)
        masks = torch.rand(len(images), 1, *images.shape[-2:]).round()
        first, second = (model.targets(each) for each in features_of_both(model.teacher.expert(), images, twins))
        teacher, *students = model.distill_twins(images, twins)
        # The student's loss does not reach the teacher, nor the teacher's the student.
        loss = StudentLoss()([teacher, first], students)
        return loss + TeacherLoss()(model.teach(images, twins), (first, second), masks), teacher, students[0]


class TestGuided(ExpertTests):
    arguments = {"injection": "guided"}  # noqa: RUF012
    backbones = TWO_BACKBONES


class TestUnguided(ExpertTests):
    arguments = {"injection": "unguided"}  # noqa: RUF012
    backbones = ONE_BACKBONE


class TestWithoutInjection(ExpertTests):
    arguments = {"injection": "none"}  # noqa: RUF012
    backbones = ONE_BACKBONE


@pytest.mark.parametrize(("injection", "expected"), [("guided", [True]), ("unguided", [False]), ("none", [])])
def test_injections(injection: str, expected: list[bool]) -> None:
    modules = [module for module in build(injection=injection).modules() if isinstance(module, InformationInjection)]
    assert [module.guidance is not None for module in modules] == expected


def test_injection_is_guided_by_default() -> None:
    assert build().state_dict().keys() == build(injection="guided").state_dict().keys()


def test_losses_stay_apart() -> None:
    model = build().train()
    images, twins = torch.randn(2, 2, 3, 32, 32)
    teacher, *students = model.distill_twins(images, twins)
    StudentLoss()([teacher], students).backward()
    assert all(parameter.grad is None for parameter in model.teacher.parameters())
    model.zero_grad()
    TeacherLoss()(model.teach(images, twins), features_of_both(model.teacher.expert(), images, twins), images[:, :1])
    assert all(parameter.grad is None for parameter in (*model.bottleneck.parameters(), *model.student.parameters()))


def test_frozen_teacher() -> None:
    model = build(train_teacher=False).train()
    images, twins = torch.randn(2, 2, 3, 32, 32)
    teacher, *students = model.distill_twins(images, twins)
    StudentLoss()([teacher], students).backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad != name.startswith("teacher."), name
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_teacher_is_trained_in_train_mode_and_with_gradient() -> None:
    model = build().train()
    images, twins = torch.randn(2, 2, 3, 32, 32)
    before = model.teacher.net.bn1.running_mean.clone()
    features, twin_features = model.teach(images, twins)
    assert all(feature.requires_grad for feature in (*features, *twin_features))
    assert [feature.shape for feature in features] == [(2, 32, 8, 8), (2, 48, 4, 4)]
    assert not torch.equal(model.teacher.net.bn1.running_mean, before)
    assert not model.teacher.net.bn1.training
    # Images and twins are normalized each by their own statistics.
    torch.testing.assert_close(model.teach(images, torch.zeros_like(twins))[0], features)


@torch.no_grad()
def test_features_of_images_and_twins_are_those_of_each_alone() -> None:
    model = build().eval()
    images, twins = torch.randn(2, 3, 3, 32, 32)
    (teacher, student), (teacher_twins, student_twins) = model.distill(images), model.distill(twins)
    close = {"rtol": 0, "atol": 1e-5}
    for known in (None, teacher):
        found = model.distill_twins(images, twins, known)
        torch.testing.assert_close(found, (teacher, student, student_twins), **close)
    torch.testing.assert_close(features_of_both(model.teacher, images, twins), (teacher, teacher_twins), **close)
