# SPDX-License-Identifier: Apache-2.0
"""The plan that a teacher draws up from its backbone."""

import pytest
import torch

from rd_plugin.components import Pyramid, Teacher


def pyramid(backbone: str, layers: list[str] | None = None) -> Pyramid:
    with torch.device("meta"):
        return Teacher(backbone, layers, pre_trained=False).pyramid


@pytest.mark.parametrize(
    ("backbone", "names", "channels"),
    [
        ("resnet18", ("layer1", "layer2", "layer3"), (64, 128, 256)),
        ("wide_resnet50_2.tv_in1k", ("layer1", "layer2", "layer3"), (256, 512, 1024)),
        ("tf_efficientnet_lite0", ("blocks.1", "blocks.2", "blocks.4"), (24, 40, 112)),
        ("convnext_atto", ("stages.0", "stages.1", "stages.2"), (40, 80, 160)),
    ],
)
def test_default_is_the_papers_strides(backbone: str, names: tuple[str, ...], channels: tuple[int, ...]) -> None:
    plan = pyramid(backbone)
    assert plan.distilled == names
    assert tuple(stage.channels for stage in plan.targets) == channels
    assert [stage.stride for stage in plan.stages] == [4, 8, 16]
    assert plan.embedding.stride == 32


@pytest.mark.parametrize("layers", [["layer1", "layer3"], ["layer3", "layer1"]])
def test_stages_between_the_chosen_ones_are_planned_but_not_distilled(layers: list[str]) -> None:
    plan = pyramid("resnet18", layers)
    assert plan.distilled == ("layer1", "layer3")
    assert [stage.name for stage in plan.targets] == ["layer1", "layer3"]
    assert [stage.channels for stage in plan.stages] == [64, 128, 256]


def test_the_coarsest_stage_can_be_the_backbones_last() -> None:
    plan = pyramid("resnet18", ["layer4"])
    assert [stage.stride for stage in plan.stages] == [32]
    assert plan.embedding.stride == 64


@pytest.mark.parametrize(
    ("backbone", "width", "groups"),
    [
        ("resnet18", None, 1),
        ("resnet34", None, 1),
        ("resnet50", 512, 1),
        ("wide_resnet50_2", 1024, 1),
        ("resnext50_32x4d", 1024, 32),
    ],
)
def test_resnet_embedding_is_its_fourth_stage(backbone: str, width: int | None, groups: int) -> None:
    embedding = pyramid(backbone).embedding
    assert embedding.channels == (512 if width is None else 2048)
    assert embedding.residual.depth == (2 if width is None else 3)
    assert (embedding.residual.width, embedding.residual.groups) == (width, groups)


@pytest.mark.parametrize(
    ("backbone", "rectified"),
    [
        ("resnet18", True),
        ("resnet50", True),
        ("resnetv2_50", False),
        ("convnext_atto", False),
        ("tf_efficientnet_lite0", False),
    ],
)
def test_only_features_that_end_in_a_relu_are_rectified(backbone: str, rectified: bool) -> None:
    assert {stage.rectified for stage in pyramid(backbone).targets} == {rectified}
