# SPDX-License-Identifier: Apache-2.0
"""The numbers of the authors' own program, from the same weights and images."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rd_plugin.convert.names import bottleneck_name, student_name, unused_by_authors
from rd_plugin.models import ReverseDistillationModel
from rd_plugin.models.reverse_distillation.loss import CosineLoss

from ..base import scale_maps

CASE = "rd4ad_resnet18"
SCALES = (0, 1, 2)


def our_name(name: str) -> str | None:
    """Name in our state dict, or None for tensors that the authors' forward pass never uses."""
    module, _, rest = name.partition(".")
    if module == "teacher":
        return None if rest.startswith(("layer4.", "fc.")) else f"teacher.net.{rest}"
    if module == "bn":
        return None if unused_by_authors([rest]) else f"bottleneck.{bottleneck_name(rest)}"
    return f"student.{student_name(rest)}"


@pytest.fixture(scope="module")
def model(weights: dict[str, Tensor]) -> ReverseDistillationModel:
    model = ReverseDistillationModel("resnet18", pre_trained=False).eval()
    model.load_state_dict(weights)
    return model


@torch.no_grad()
@pytest.mark.parametrize("scale", SCALES)
def test_features_and_scale_maps(model: ReverseDistillationModel, images: Tensor, agree: Callable, scale: int) -> None:
    teacher, student = model.distill(images)
    agree(f"teacher_feature_{scale}", teacher[scale])
    agree(f"student_feature_{scale}", student[scale])
    agree(f"scale_map_{scale}", scale_maps(model, images)[scale])


@torch.no_grad()
def test_embedding(model: ReverseDistillationModel, images: Tensor, agree: Callable) -> None:
    agree("embedding", model.bottleneck(model.teacher(images)))


@torch.no_grad()
def test_map_and_score(model: ReverseDistillationModel, images: Tensor, agree: Callable) -> None:
    predictions = model(images)
    agree("map_blurred_sigma4", predictions.anomaly_map)
    agree("score", predictions.pred_score)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["flattened", "per_pixel"])
def test_losses(model: ReverseDistillationModel, images: Tensor, agree: Callable, kind: str) -> None:
    agree(f"loss_{kind}", CosineLoss(kind)(*model.distill(images)))
