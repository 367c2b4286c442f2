# SPDX-License-Identifier: Apache-2.0
"""Plain vision transformers as teachers; tiny ones of timm's own tests, and all families that are built at once."""

from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from rd_plugin.components import Teacher, ViTTeacher, build_teacher, default_image_size, is_plain_vit

TINY = "test_vit"


@pytest.mark.parametrize(
    ("backbone", "plain"),
    [
        ("vit_small_patch14_reg4_dinov2.lvd142m", True),
        ("vit_small_patch16_dinov3", True),
        ("vit_base_patch16_224.mae", True),
        ("vit_base_patch16_clip_224", True),
        ("vit_base_patch16_siglip_224", True),
        ("deit_tiny_distilled_patch16_224", True),
        ("beit_base_patch16_224", True),
        ("swin_tiny_patch4_window7_224", False),
        ("hiera_tiny_224", False),
        ("resnet18", False),
        ("cait_xxs24_224", False),
        ("resnt18", False),
        ("vit_small_patch16_224.nobody", False),
    ],
)
def test_which_are_plain(backbone: str, plain: bool) -> None:
    assert is_plain_vit(backbone) is plain
    assert (default_image_size(backbone) is not None) is plain


@pytest.mark.parametrize(
    ("backbone", "size"), [("vit_small_patch14_dinov2", (252, 252)), ("vit_small_patch16_dinov3", (256, 256))]
)
def test_default_size_is_whole_patches(backbone: str, size: tuple[int, int]) -> None:
    assert default_image_size(backbone) == size


@pytest.mark.parametrize(
    ("backbone", "layers"),
    [
        ("vit_small_patch14_reg4_dinov2", [2, 3, 4, 5, 6, 7, 8, 9]),
        ("vit_large_patch14_reg4_dinov2", [4, 6, 8, 10, 12, 14, 16, 18]),
        (TINY, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_default_layers(backbone: str, layers: list[int]) -> None:
    with torch.device("meta"):
        teacher = ViTTeacher(backbone, pre_trained=False)
    assert teacher.layers == tuple(f"blocks.{index}" for index in layers)
    # Blocks after the last are not kept.
    assert len(teacher.net.blocks) == layers[-1] + 1
    assert sum(teacher.groups) == len(layers)
    assert len(teacher.pyramid.targets) == 2


@pytest.mark.parametrize(
    ("backbone", "prefix", "patch"),
    [(TINY, 1, 16), ("vit_tiny_patch16_224", 1, 16), ("vit_small_patch16_dinov3", 5, 16)],
)
@torch.no_grad()
def test_features_are_means_of_the_blocks(backbone: str, prefix: int, patch: int) -> None:
    teacher = ViTTeacher(backbone, ["blocks.1", "blocks.3", "blocks.2"], pre_trained=False)
    teacher.set_size((4 * patch, 6 * patch))
    seen: list[Tensor] = []
    for block in teacher.net.blocks[1:]:
        block.register_forward_hook(lambda _, __, output: seen.append(output))
    first, second, tokens = teacher(torch.randn(2, 3, 4 * patch, 6 * patch))
    channels = first.shape[1]
    assert first.shape == second.shape == (2, channels, 4, 6)
    assert tokens.shape == (2, channels, 2, prefix)
    torch.testing.assert_close(first.flatten(2).mT, torch.stack(seen[:2]).mean(0)[:, prefix:])
    torch.testing.assert_close(second.flatten(2).mT, seen[2][:, prefix:])
    torch.testing.assert_close(tokens[:, :, 0].mT, torch.stack(seen[:2]).mean(0)[:, :prefix])


@torch.no_grad()
def test_towers_without_class_token() -> None:
    teacher = ViTTeacher("vit_base_patch16_siglip_224", ["blocks.0"], pre_trained=False)
    assert [feature.shape for feature in teacher(torch.randn(1, 3, 224, 224))] == [(1, 768, 14, 14)]


@torch.no_grad()
def test_position_table_is_resampled_once_at_the_size() -> None:
    teacher = ViTTeacher(TINY, pre_trained=False)
    images = torch.randn(1, 3, 32, 64)
    expected = teacher(images)
    teacher.set_size((32, 64))
    assert teacher.size == (32, 64)
    assert teacher.net.pos_embed.shape[1] == 1 + 2 * 4
    assert not teacher.net.pos_embed.requires_grad
    for actual, wanted in zip(teacher(images), expected, strict=True):
        torch.testing.assert_close(actual, wanted)


def test_features_to_keep_are_group_means() -> None:
    """1.2 MB an image in half precision, as the eight blocks would not be."""
    with torch.device("meta"):
        teacher = ViTTeacher("vit_small_patch14_reg4_dinov2", pre_trained=False)
        teacher.set_size((392, 392))
        features = teacher(torch.empty(1, 3, 392, 392))
    # Two groups of 28 x 28 patches, a class and four register tokens.
    assert sum(feature.numel() for feature in features) == 2 * 384 * (28 * 28 + 5)


@pytest.mark.parametrize("size", [(60, 64), (64, 100), (8, 8)])
def test_sizes_that_are_not_made_of_patches(size: tuple[int, int]) -> None:
    teacher = ViTTeacher(TINY, pre_trained=False)
    fits = [max(1, round(side / 16)) * 16 for side in size]
    for call in (lambda: teacher.set_size(size), lambda: teacher.embedding_positions(size)):
        with pytest.raises(ValueError, match="image_size must be another, such as") as caught:
            call()
        assert str(fits) in str(caught.value)
    with pytest.raises(ValueError, match="the size of images must be another"):
        teacher(torch.randn(1, 3, *size))
    assert teacher.embedding_positions((64, 32)) == 1 + 4 * 2


def test_backbone_of_one_size_says_so() -> None:
    teacher = ViTTeacher("beit_base_patch16_224", ["blocks.0"], pre_trained=False)
    with pytest.raises(
        ValueError, match=r"such as \[224, 224\]: 'beit_base_patch16_224' takes one size, got \[64, 64\]"
    ):
        teacher(torch.randn(1, 3, 64, 64))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": []}, r"layers must be a non-empty list of blocks .* it has 'blocks.0' to 'blocks.5'"),
        ({"layers": "blocks.1"}, "layers must be a non-empty list"),
        ({"layers": ["blocks.9"]}, "'blocks.9' does not exist in backbone 'test_vit'; it has 'blocks.0' to 'blocks.5'"),
        ({"layers": ["blocks.1", "blocks.1"]}, "layers must differ"),
        ({"with_embedding": True}, "bottleneck 'none' needs a stage after the coarsest"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_teacher(TINY, **{"pre_trained": False, **arguments})


def test_kind_of_the_teacher() -> None:
    assert isinstance(build_teacher(TINY, pre_trained=False), ViTTeacher)
    assert type(build_teacher("resnet18", pre_trained=False)) is Teacher


def same(teacher: Teacher, whole: torch.nn.Module) -> None:
    state = whole.state_dict()
    teacher.load_pretrained()
    for name, tensor in teacher.net.state_dict().items():
        if name != "pos_embed":
            assert torch.equal(tensor, state[name]), name


def test_weights_of_a_file_and_of_another_size(tmp_path: Path) -> None:
    whole = timm.create_model(TINY)
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    teacher = ViTTeacher(TINY, ["blocks.1", "blocks.2"], tmp_path / "weights.pth")
    teacher.set_size((64, 96))
    same(teacher, whole)
    assert teacher.net.pos_embed.shape[1] == 1 + 4 * 6
    # A checkpoint brings its own.
    again = ViTTeacher(TINY, ["blocks.1", "blocks.2"], "deleted.pth")
    again.set_size((64, 96))
    again.load_state_dict(teacher.state_dict())
    images = torch.randn(1, 3, 64, 96)
    torch.testing.assert_close(again(images)[0], teacher(images)[0])


def test_names_of_dinov2(tmp_path: Path) -> None:
    backbone = "vit_small_patch14_reg4_dinov2"
    whole = timm.create_model(backbone, img_size=56, depth=12)
    theirs = whole.state_dict()
    theirs["register_tokens"] = theirs.pop("reg_token")
    theirs["mask_token"] = torch.zeros(1, 384)
    position = torch.randn(1, 1, 384)
    theirs["cls_token"] = theirs["cls_token"] - position
    theirs["pos_embed"] = torch.cat([position, theirs["pos_embed"]], dim=1)
    torch.save(theirs, tmp_path / "dinov2_vits14_reg4_pretrain.pth")
    teacher = ViTTeacher(backbone, ["blocks.0"], tmp_path / "dinov2_vits14_reg4_pretrain.pth")
    teacher.set_size((56, 56))
    teacher.load_pretrained()
    state = whole.state_dict()
    for name, tensor in teacher.net.state_dict().items():
        torch.testing.assert_close(tensor, state[name], msg=name)


def test_names_of_dinov3(tmp_path: Path) -> None:
    backbone = "vit_small_patch16_dinov3"
    whole = timm.create_model(backbone)
    theirs = {
        name.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma"): tensor
        for name, tensor in whole.state_dict().items()
        if "rope" not in name
    }
    theirs["storage_tokens"] = theirs.pop("reg_token")
    theirs["mask_token"] = torch.zeros(1, 384)
    torch.save(theirs, tmp_path / "dinov3_vits16_pretrain.pth")
    same(ViTTeacher(backbone, ["blocks.0"], tmp_path / "dinov3_vits16_pretrain.pth"), whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("blocks.1.norm1.weight"), "'test_vit': there is no blocks.1.norm1.weight"),
        (lambda state: state.update({"cls_token": torch.zeros(1, 1, 3)}), r"cls_token has shape \(1, 1, 3\), expected"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, change: object, message: str) -> None:
    state = timm.create_model(TINY).state_dict()
    change(state)
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=message):
        ViTTeacher(TINY, pre_trained=tmp_path / "weights.pth").load_pretrained()


def test_weights_that_timm_downloads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = timm.create_model(TINY)
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    monkeypatch.setattr("rd_plugin.components.teacher.hub_source", lambda _: {"file": str(tmp_path / "weights.pth")})
    teacher = ViTTeacher(TINY)
    teacher.set_size((64, 64))
    same(teacher, whole)
