# SPDX-License-Identifier: Apache-2.0
"""The student's make, and the bottleneck's with it, against the authors' and anomalib's."""

import json
from pathlib import Path

import pytest
import torch
from anomalib.models.image.reverse_distillation.torch_model import ReverseDistillationModel as AnomalibModel
from torch import Tensor

from rd_plugin.components import Pyramid, Stage, Student
from rd_plugin.convert.names import bottleneck_name, injection_name, student_name, unused_by_authors
from rd_plugin.models import ExpertReverseDistillationModel, ReverseDistillationModel
from rd_plugin.models.expert_reverse_distillation.injection import injection_builder

Shapes = dict[str, tuple[int, ...]]


def build(backbone: str) -> ReverseDistillationModel:
    with torch.device("meta"):
        return ReverseDistillationModel(backbone, pre_trained=False)


def shapes(module: torch.nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def bottleneck_shapes(theirs: Shapes) -> Shapes:
    """The authors' bottleneck under our names."""
    unused = unused_by_authors(theirs)
    return {bottleneck_name(name): shape for name, shape in theirs.items() if name not in unused}


def student_shapes(theirs: Shapes) -> Shapes:
    """The authors' decoder under our names."""
    return {student_name(name): shape for name, shape in theirs.items()}


@pytest.fixture(scope="module")
def authors(golden: Path) -> Shapes:
    content = json.loads((golden / "urd_wide_resnet50_2.json").read_text())
    return {name: tuple(shape) for name, shape in content.items()}


def under(prefix: str, tensors: Shapes) -> Shapes:
    return {name.removeprefix(prefix): shape for name, shape in tensors.items() if name.startswith(prefix)}


def test_wide_resnet_is_the_authors(authors: Shapes) -> None:
    model = build("wide_resnet50_2")
    assert shapes(model.bottleneck) == bottleneck_shapes(under("student.bn.", authors))
    assert shapes(model.student) == student_shapes(under("student.decoder.", authors))


def test_injections_are_the_authors(authors: Shapes) -> None:
    with torch.device("meta"):
        model = ExpertReverseDistillationModel("wide_resnet50_2", pre_trained=False)
    decoder = student_shapes(under("student.decoder.", authors))
    others = {name: shape for name, shape in under("student.", authors).items() if not name.startswith(("bn", "dec"))}
    assert shapes(model.student) == {**decoder, **{injection_name(name): shape for name, shape in others.items()}}


# anomalib builds the bottleneck of a wide or grouped ResNet with the width of a plain one, unlike the authors, and
# groups the transposed convolution on the identity path of ResNeXts.
@pytest.mark.parametrize(
    ("backbone", "same_bottleneck"),
    [("resnet18", True), ("resnet34", True), ("resnet50", True), ("wide_resnet50_2", False)],
)
def test_resnets_are_anomalibs(backbone: str, same_bottleneck: bool) -> None:
    model = build(backbone)
    theirs = AnomalibModel(backbone, (64, 64), ["layer1", "layer2", "layer3"], "add", pre_trained=False)
    assert shapes(model.student) == student_shapes(shapes(theirs.decoder))
    assert (shapes(model.bottleneck) == bottleneck_shapes(shapes(theirs.bottleneck))) == same_bottleneck


def test_grouped_resnet() -> None:
    model = build("resnext50_32x4d")
    assert [stage[0].residual[3].weight.shape[:2] for stage in model.student.stages] == [(512, 16), (256, 8), (128, 4)]
    assert [len(stage) for stage in model.student.stages] == [3, 4, 6]
    assert {block.residual[3].weight.shape[:2] for block in model.bottleneck.embedding} == {(1024, 32)}


PLAN = Pyramid(
    (Stage("fine", 4, 4, rectified=True), Stage("middle", 6, 8), Stage("coarse", 10, 16)),
    ("fine", "coarse"),
    Stage("embedding", 12, 32),
)


def teacher(*sizes: tuple[int, int]) -> list[Tensor]:
    """Features of the distilled stages."""
    return [torch.randn(2, stage.channels, *size) for stage, size in zip(PLAN.targets, sizes, strict=True)]


@pytest.mark.parametrize("injection", ["guided", "unguided", "none"])
@pytest.mark.parametrize("sizes", [[(8, 12), (2, 3)], [(7, 9), (2, 3)], [(7, 9), (1, 2)], [(9, 13), (3, 4)]])
def test_features_have_the_sizes_of_the_teachers(sizes: list[tuple[int, int]], injection: str) -> None:
    features = Student(PLAN, injection_builder(injection))(torch.randn(2, 12, 1, 2), teacher(*sizes))
    assert [feature.shape for feature in features] == [(2, 4, *sizes[0]), (2, 10, *sizes[1])]


@pytest.mark.parametrize("injection", ["guided", "unguided", "none"])
def test_only_features_that_are_not_rectified_can_be_negative(injection: str) -> None:
    fine, coarse = Student(PLAN, injection_builder(injection))(torch.randn(2, 12, 2, 2), teacher((16, 16), (4, 4)))
    assert fine.min() >= 0
    assert coarse.min() < 0


@torch.no_grad()
@pytest.mark.parametrize(("injection", "injected"), [("guided", True), ("unguided", True), ("none", False)])
@pytest.mark.parametrize("changed", [0, 1])
def test_teachers_features_reach_the_finer_scale_alone(injection: str, injected: bool, changed: int) -> None:
    student, embedding, features = (
        Student(PLAN, injection_builder(injection)).eval(),
        torch.randn(2, 12, 2, 2),
        teacher((16, 16), (4, 4)),
    )
    fine, coarse = student(embedding, features)
    features[changed] = torch.randn_like(features[changed])
    other_fine, other_coarse = student(embedding, features)
    assert torch.equal(fine, other_fine) != injected
    assert torch.equal(coarse, other_coarse)


def test_teachers_features_are_left_as_they_are() -> None:
    features = teacher((16, 16), (4, 4))
    copies = [feature.clone() for feature in features]
    Student(PLAN, injection_builder("guided"))(torch.randn(2, 12, 2, 2), features)
    assert len(features) == 2
    assert all(torch.equal(a, b) for a, b in zip(features, copies, strict=True))
