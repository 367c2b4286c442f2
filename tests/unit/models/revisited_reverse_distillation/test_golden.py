# SPDX-License-Identifier: Apache-2.0
"""The numbers of the authors' own program, from the same weights, images and noise, in double precision."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from rd_plugin.convert.names import bottleneck_name, student_name, unused_by_authors
from rd_plugin.models import RevisitedReverseDistillationModel
from rd_plugin.models.reverse_distillation.loss import CosineLoss
from rd_plugin.models.revisited_reverse_distillation.loss import ProjectionLoss

from ....golden import fill
from ..base import scale_maps

CASE = "rdpp_resnet18"
SCALES = (0, 1, 2)
KEPT = ("0_every_8th_channel", "1_every_8th_channel", "2_every_16th_channel")
STEPS = (8, 8, 16)
PROJECTION_WEIGHT = 0.2


def our_name(name: str) -> str | None:
    """Name in our state dict, or None for tensors without effect: those never used, and biases before a norm."""
    module, _, rest = name.partition(".")
    if module == "teacher":
        return None if rest.startswith(("layer4.", "fc.")) else f"teacher.net.{rest}"
    if module == "proj":
        scale, _, layer, kind = rest.split(".")
        return None if kind == "bias" else f"bottleneck.projections.{'abc'.index(scale[-1])}.{layer}.{kind}"
    if module == "bn":
        return None if unused_by_authors([rest]) else f"bottleneck.bottleneck.{bottleneck_name(rest)}"
    return f"student.{student_name(rest)}"


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.from_numpy(fill.image("input", (4, 3, 64, 64))).double()


@pytest.fixture(scope="module")
def model(weights: dict[str, Tensor]) -> RevisitedReverseDistillationModel:
    model = RevisitedReverseDistillationModel("resnet18", pre_trained=False)
    model.load_state_dict(weights)
    return model.double().eval()


@pytest.fixture(scope="module")
def step(weights: dict[str, Tensor], images: Tensor, expected: dict[str, Tensor]) -> SimpleNamespace:
    """One training step's features, losses and gradients."""
    model = RevisitedReverseDistillationModel("resnet18", pre_trained=False)
    model.load_state_dict(weights)
    model = model.double().train()
    with torch.no_grad():
        teacher = model.teacher(images)
    twins = images + expected["noise"]
    targets, student, projected, projected_twins, teacher_twins = model.distill_twins(teacher, twins)
    distill = CosineLoss()(targets, student)
    projection = ProjectionLoss()(projected, projected_twins, teacher_twins)
    bottleneck = model.bottleneck
    parts = {
        "proj": bottleneck.projections,
        **{f"proj.proj_{'abc'[scale]}": bottleneck.projections[scale] for scale in SCALES},
        "bn": bottleneck.bottleneck,
        "decoder": model.student,
    }
    losses = {"total": distill + PROJECTION_WEIGHT * projection, "distill": distill, "projection": projection}
    gradients = {}
    for name, loss in losses.items():
        model.zero_grad()
        loss.backward(retain_graph=True)
        gradients |= {f"{name}.{part}": norm(module.parameters()) for part, module in parts.items()}
    return SimpleNamespace(
        features={
            "teacher_noised_feature": teacher_twins,
            "teacher_feature": teacher,
            "projected_feature": projected,
            "projected_noised_feature": projected_twins,
            "train_student_feature": student,
        },
        losses=losses,
        gradients=gradients,
        first_norm=bottleneck.bottleneck.fusion.branches[0][1],
    )


def norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    squares = [parameter.grad.square().sum() for parameter in parameters if parameter.grad is not None]
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros(())


@pytest.fixture(scope="module")
def close(agree: Callable) -> Callable[[str, Tensor], None]:
    """Compare as ``agree`` does, from double precision."""
    return lambda name, actual: agree(name, actual.detach().float())


@pytest.mark.parametrize("scale", SCALES)
def test_features_in_training(step: SimpleNamespace, close: Callable, scale: int) -> None:
    for name, features in step.features.items():
        close(f"{name}_{KEPT[scale]}", features[scale][:, :: STEPS[scale]])


def test_losses(step: SimpleNamespace, close: Callable) -> None:
    for name, loss in step.losses.items():
        close(f"loss_{name}", loss)


@pytest.mark.parametrize("loss", ["total", "distill", "projection"])
@pytest.mark.parametrize("part", ["proj", "proj.proj_a", "proj.proj_b", "proj.proj_c", "bn", "decoder"])
def test_gradients(step: SimpleNamespace, close: Callable, loss: str, part: str) -> None:
    close(f"gradient_norm_{loss}.{part}", step.gradients[f"{loss}.{part}"])


def test_batch_statistics_after_one_pass(step: SimpleNamespace, close: Callable) -> None:
    close("train_running_mean.bn.bn1", step.first_norm.running_mean)
    close("train_running_var.bn.bn1", step.first_norm.running_var)


@torch.no_grad()
def test_evaluation(model: RevisitedReverseDistillationModel, images: Tensor, close: Callable) -> None:
    teacher, student = model.distill(images)
    close("embedding", model.bottleneck(teacher))
    for scale in SCALES:
        close(f"student_feature_{KEPT[scale]}", student[scale][:, :: STEPS[scale]])


@torch.no_grad()
def test_map_and_score(model: RevisitedReverseDistillationModel, images: Tensor, close: Callable) -> None:
    # Maps are in single precision always.
    single, images = deepcopy(model).float(), images.float()
    close("map_summed", sum(scale_maps(single, images)))
    predictions = single(images)
    close("map_blurred_sigma4", predictions.anomaly_map)
    close("score", predictions.pred_score)


def test_projection_loss_where_every_term_counts(close: Callable) -> None:
    shapes = ((4, 8, 6, 6), (4, 12, 3, 3), (4, 16, 2, 2))
    waves = {
        name: [torch.from_numpy(fill.wave(f"alone.{name}.{scale}", shapes[scale])) for scale in SCALES]
        for name in ("noised", "projected", "projected_noised")
    }
    noisy = [0.5 + wave for wave in waves["noised"]]
    projected = [(0.8 * n + 0.4 * w).requires_grad_() for n, w in zip(noisy, waves["projected"], strict=True)]
    twins = [(0.2 + wave).requires_grad_() for wave in waves["projected_noised"]]
    loss = ProjectionLoss()(projected, twins, noisy)
    loss.backward()
    close("alone_loss", loss)
    for scale in SCALES:
        close(f"alone_gradient_projected_{scale}", projected[scale].grad)
        close(f"alone_gradient_projected_noised_{scale}", twins[scale].grad)
