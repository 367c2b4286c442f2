# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import Tensor

from rd_plugin.models import RevisitedReverseDistillationModel
from rd_plugin.models.reverse_distillation.loss import CosineLoss
from rd_plugin.models.revisited_reverse_distillation.loss import ProjectionLoss

from ..base import ONE_BACKBONE, TWO_BACKBONES, TorchModelTests


class RevisitedTests(TorchModelTests):
    network = RevisitedReverseDistillationModel
    # Of two positions, as 16 x 31 pixels have, instance norm keeps only which is higher, and gradients vanish.
    sizes = ((64, 64), (97, 70), (31, 48))

    def learn(
        self, model: RevisitedReverseDistillationModel, images: Tensor
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        teacher = model.teacher(images)
        targets, student, *pairs = model.distill_twins(teacher, images + torch.randn_like(images))
        # The first loss sees what a bottleneck leaves out, too: the other is nothing where features differ enough.
        return self.loss(targets, student) + ProjectionLoss()(*pairs), targets, student


class TestRevisitedReverseDistillationModel(RevisitedTests):
    backbones = TWO_BACKBONES


class TestCoarsestScaleAlone(RevisitedTests):
    arguments = {"bottleneck": "oce"}  # noqa: RUF012
    backbones = ONE_BACKBONE


def build(**arguments: object) -> RevisitedReverseDistillationModel:
    return RevisitedReverseDistillationModel("test_resnet", pre_trained=False, **arguments)


def test_scales_that_are_projected() -> None:
    assert [len(build(bottleneck=kind).bottleneck.projections) for kind in ("mff_oce", "oce")] == [3, 1]
    with pytest.raises(ValueError, match=r"bottleneck must be 'mff_oce' or 'oce', .* got 'none'"):
        RevisitedReverseDistillationModel("resnet18", pre_trained=False, bottleneck="none")


def test_student_does_not_see_the_twins() -> None:
    model = build().train()
    images, twins = torch.randn(2, 2, 3, 32, 32)
    teacher = model.teacher(images)
    targets, student, projected, projected_twins, teacher_twins = model.distill_twins(teacher, twins)
    torch.testing.assert_close(targets, teacher, rtol=0, atol=0)
    torch.testing.assert_close(student, model.reconstruct(teacher))
    torch.testing.assert_close(projected_twins, model.bottleneck.project(teacher_twins))
    assert not any(feature.requires_grad for feature in (*teacher, *teacher_twins))
    ProjectionLoss()(projected, projected_twins, teacher_twins).backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in model.student.parameters())
    assert all(parameter.grad is not None for parameter in model.bottleneck.projections.parameters())
    CosineLoss()(teacher, student).backward()
    assert all(parameter.grad is None for parameter in model.teacher.parameters())
