# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from rd_plugin.models import ReverseDistillationModel
from rd_plugin.models.components import CosineLoss, Teacher


@pytest.fixture
def teacher() -> Teacher:
    return Teacher("resnet18", pre_trained=False)


def test_features(teacher: Teacher) -> None:
    features = teacher(torch.randn(2, 3, 64, 96))
    assert [feature.shape for feature in features] == [(2, 64, 16, 24), (2, 128, 8, 12), (2, 256, 4, 6)]


def test_embedding_is_one_feature_more() -> None:
    features = Teacher("resnet18", pre_trained=False, with_embedding=True)(torch.randn(2, 3, 64, 96))
    assert [feature.shape for feature in features[2:]] == [(2, 256, 4, 6), (2, 512, 2, 3)]


def test_channels_come_second_for_backbones_that_put_them_last() -> None:
    features = Teacher("mambaout_femto", pre_trained=False)(torch.randn(2, 3, 64, 96))
    assert [feature.shape for feature in features] == [(2, 48, 16, 24), (2, 96, 8, 12), (2, 192, 4, 6)]


def test_evaluation_mode_whatever_is_asked_for(teacher: Teacher) -> None:
    model = ReverseDistillationModel("resnet18", pre_trained=False)
    for module in (teacher.train(), model.train().teacher):
        assert not any(child.training for child in module.modules())
    assert model.training
    assert model.student.training


def test_no_gradient(teacher: Teacher) -> None:
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert all(feature.grad_fn is None for feature in teacher(torch.randn(2, 3, 32, 32)))


def test_training_leaves_weights_and_statistics_bit_for_bit() -> None:
    model = ReverseDistillationModel("resnet18", ["layer1", "layer2"], pre_trained=False).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        CosineLoss()(*model(torch.randn(2, 3, 32, 32))).backward()
        optimizer.step()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("teacher."), name


def test_random_weights_are_announced(caplog: pytest.LogCaptureFixture) -> None:
    Teacher("resnet18", pre_trained=False)
    assert "'resnet18' has random weights (pre_trained=False)" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "resnt18"}, r"backbone 'resnt18' is unknown to timm .*'resnet18'.*timm.list_models\(\)"),
        ({"backbone": "resnet18.nobody"}, r"backbone 'resnet18.nobody'.*nobody"),
        (
            {"backbone": "vit_tiny_patch16_224"},
            r"layers: .*'vit_tiny_patch16_224'.* 4, 8 and 16.*'blocks.0' \(stride 16\)",
        ),
        (
            {"backbone": "vit_tiny_patch16_224", "layers": ["blocks.1", "blocks.2"]},
            r"layers must .*stride.*, got \['blocks.1', 'blocks.2'\].*'blocks.0' \(stride 16\)",
        ),
        (
            {"layers": ["layer1", "layer7"]},
            r"layers: 'layer7' does not exist in backbone 'resnet18'.*'layer1' \(stride 4\)",
        ),
        ({"layers": []}, r"layers must be a non-empty list .*, got \[\]; it has .*'layer1' \(stride 4\)"),
        ({"layers": "layer1"}, r"layers must be a non-empty list .*, got 'layer1'; it has .*'layer1' \(stride 4\)"),
        ({"layers": ["layer1", "layer1"]}, r"layers must .*stride.*, got \['layer1', 'layer1'\]"),
        (
            {"layers": ["layer4"], "with_embedding": True},
            r"bottleneck 'none' .*'layer4' is the last .*'oce' or 'mff_oce'",
        ),
    ],
)
def test_bad_arguments_are_named_with_what_is_accepted(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Teacher(**{"backbone": "resnet18", "pre_trained": False, **arguments})


@pytest.mark.parametrize("size", [(15, 64), (64, 15)])
def test_too_small_images(teacher: Teacher, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"{size[0]} x {size[1]} pixels are too small .*at least 16 x 16"):
        teacher(torch.randn(1, 3, *size))
