# SPDX-License-Identifier: Apache-2.0
"""The numbers of the authors' own program, from the same weights, images and masks."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from rd_plugin.components import Teacher
from rd_plugin.convert.names import bottleneck_name, injection_name, student_name, unused_by_authors
from rd_plugin.models import ExpertReverseDistillationModel
from rd_plugin.models.expert_reverse_distillation.loss import StudentLoss, TeacherLoss
from rd_plugin.models.expert_reverse_distillation.torch_model import features_of_both

from ....golden import fill
from ..base import scale_maps

CASE = "urd_wide_resnet50_2"
SCALES = (0, 1, 2)
# Their program's student without its injections.
AUTHORS = {"none": "without_skip"}


def our_name(name: str) -> str | None:
    """Name in our state dict or, with "expert.", the expert's; None for tensors that are never used."""
    network, _, rest = name.partition(".")
    if network in {"teacher", "expert"}:
        rest = rest.removeprefix("encoder.")
        return None if rest.startswith(("layer4.", "fc.")) else f"{network}.net.{rest}"
    part, _, tensor = rest.partition(".")
    if part == "bn":
        return None if unused_by_authors([tensor]) else f"bottleneck.{bottleneck_name(tensor)}"
    return f"student.{student_name(tensor) if part == 'decoder' else injection_name(rest)}"


@pytest.fixture(scope="module")
def twins() -> Tensor:
    return torch.from_numpy(fill.image("augmented", (2, 3, 64, 64)))


@pytest.fixture(scope="module")
def expert(weights: dict[str, Tensor], images: Tensor, twins: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The expert's features."""
    with torch.device("meta"):
        expert = Teacher("wide_resnet50_2", pre_trained=False)
    state = {name.removeprefix("expert."): value for name, value in weights.items() if name.startswith("expert.")}
    expert.load_state_dict(state, assign=True)
    return features_of_both(expert, images, twins)


def build(injection: str, weights: dict[str, Tensor]) -> ExpertReverseDistillationModel:
    """The model with the authors' weights; they are not copied."""
    with torch.device("meta"):
        model = ExpertReverseDistillationModel("wide_resnet50_2", pre_trained=False, injection=injection).eval()
    model.load_state_dict({name: weights[name] for name in model.state_dict()}, assign=True)
    return model


@pytest.fixture(scope="module", params=["guided", "unguided", "none"])
def results(
    request: pytest.FixtureRequest,
    weights: dict[str, Tensor],
    images: Tensor,
    twins: Tensor,
) -> SimpleNamespace:
    """What the model makes of images and twins."""
    model = build(request.param, weights)
    with torch.no_grad():
        return SimpleNamespace(
            injection=request.param,
            names=set(model.state_dict()),
            features=features_of_both(model.teacher, images, twins),
            students=model.distill_twins(images, twins)[1:],
            map=sum(scale_maps(model, images)),
        )


def test_every_tensor_has_its_place(results: SimpleNamespace, weights: dict[str, Tensor]) -> None:
    unused = {name for name in weights.keys() - results.names if not name.startswith("expert.")}
    part = {"guided": "nothing", "unguided": ".guidance.", "none": "student.injections."}[results.injection]
    assert unused == {name for name in weights if part in name}


@pytest.mark.parametrize("scale", SCALES)
def test_features(results: SimpleNamespace, expert: tuple, agree: Callable, scale: int) -> None:
    name = f"feature_{scale}_every_8th_channel"
    agree(f"teacher_{name}", results.features[0][scale][:, ::8])
    agree(f"teacher_augmented_{name}", results.features[1][scale][:, ::8])
    agree(f"expert_{name}", expert[0][scale][:, ::8])
    theirs = AUTHORS.get(results.injection, results.injection)
    agree(f"student_{theirs}_{name}", results.students[0][scale][:, ::8])


def test_teacher_loss(results: SimpleNamespace, expert: tuple, expected: dict[str, Tensor], agree: Callable) -> None:
    agree("loss_teacher", TeacherLoss()(results.features, expert, expected["mask"]))


# The authors' numbers have neither for the student without injections.
@pytest.mark.parametrize("results", ["guided", "unguided"], indirect=True)
def test_map_and_student_loss(results: SimpleNamespace, expert: tuple, agree: Callable) -> None:
    agree(f"map_{results.injection}", results.map)
    loss = StudentLoss()([results.features[0], expert[0]], results.students)
    agree(f"loss_student_{results.injection}", loss)
