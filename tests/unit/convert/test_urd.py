# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the program of RD with Expert's authors."""

from functools import partial

import numpy as np
import pytest
import torch

from rd_plugin import ExpertReverseDistillation
from rd_plugin.convert import convert_urd, urd
from rd_plugin.convert.names import expert_student_name, expert_teacher_name, injection_name

from ...golden import fill as golden_numbers
from ..models.base import scale_maps
from .foreign import check_refused, golden_parts

pytestmark = pytest.mark.usefixtures("no_downloads")


def change(source, path, part, without=(), **extra):
    """Write the checkpoint ``source`` to ``path``, with tensors of one part left out or added."""
    content = torch.load(source, weights_only=True)
    content[part] = {name: tensor for name, tensor in content[part].items() if not name.startswith(without)} | extra
    torch.save(content, path)
    return path


@pytest.fixture
def source(expert_authors_resnet18):
    return expert_authors_resnet18[-1]


@pytest.fixture(scope="module")
def parts(golden):
    """The reference case's weights, as its authors' program would save them."""
    return golden_parts(golden, "urd_wide_resnet50_2", ("teacher", "student"))


@pytest.mark.parametrize("injection", ["guided", "unguided"])
def test_maps_are_the_authors(tmp_path, monkeypatch, golden, parts, injection):
    written = []
    # Passed by hand: these files are nearly 1 GB each.
    monkeypatch.setattr(urd, "read_checkpoint", lambda _: parts)
    monkeypatch.setattr(urd, "write_checkpoint", lambda model, *_: written.append(model))
    convert_urd("authors.pth", tmp_path / "ours.ckpt", injection=injection)
    images = torch.from_numpy(golden_numbers.image("input", (2, 3, 64, 64)))
    with torch.inference_mode():
        maps = scale_maps(written[0].eval().model, images)
    expected = np.load(golden / "urd_wide_resnet50_2.npz")[f"map_{injection}"]
    np.testing.assert_allclose(sum(maps).squeeze(1), expected, rtol=0, atol=1e-4 * expected.max())


@pytest.mark.parametrize("guided", [True, False])
def test_features_are_the_authors(tmp_path, expert_authors_resnet18, guided):
    teacher, student, source = expert_authors_resnet18
    convert_urd(source, tmp_path / "ours.ckpt", backbone="resnet18", injection="guided" if guided else "unguided")
    ours = ExpertReverseDistillation.load_from_checkpoint(tmp_path / "ours.ckpt").eval().model
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        # The intermediate before these is the stem's.
        targets = teacher.forward_intermediates(images, indices=[1, 2, 3], intermediates_only=True)
        rebuilt, other = student(targets, guided), student(targets, not guided)
        features = [feature for network in ours.distill(images) for feature in network]
    for feature, wanted in zip(features, [*targets, *rebuilt], strict=True):
        # Relative to the features' scale, which reaches some hundreds here.
        torch.testing.assert_close(feature, wanted, rtol=0, atol=1e-5 * wanted.abs().max().item())
    # The two kinds of student must not be mistaken for each other.
    assert (rebuilt[0] - other[0]).abs().max() > 0.1 * rebuilt[0].abs().max()


def test_hyper_parameters(tmp_path, source):
    output = tmp_path / "ours.ckpt"
    convert_urd(source, output, backbone="resnet18")
    stored = torch.load(output, weights_only=True)["hyper_parameters"]
    assert stored["backbone"] == "resnet18"
    assert stored["injection"] == "unguided"
    # Where a new training would read the expert's weights; the teacher's are in the checkpoint.
    assert stored["pre_trained"] is True
    assert stored["train_teacher"] is True
    # Would ask for the network if they did not count as loaded.
    ExpertReverseDistillation.load_from_checkpoint(output).model.teacher.load_pretrained()


def test_what_is_left_out_may_be_absent(tmp_path, source):
    convert_urd(source, tmp_path / "whole.ckpt", backbone="resnet18")
    cut = change(source, tmp_path / "cut.pth", "teacher", without=("encoder.layer4.", "encoder.fc."))
    cut = change(cut, tmp_path / "cut2.pth", "student", without=("conv3x3_simattn.",))
    convert_urd(cut, tmp_path / "cut.ckpt", backbone="resnet18")
    whole, other = (torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["state_dict"] for name in ("whole", "cut"))
    torch.testing.assert_close(whole, other, rtol=0, atol=0, equal_nan=True)
    assert not any("layer4" in name or "fc" in name or "guidance" in name for name in whole)


@pytest.mark.parametrize(
    ("rename", "name"),
    [
        (injection_name, "fuse_skip.2.0.weight"),
        (injection_name, "fuse_skip.0.2.weight"),
        (injection_name, "conv1x1_downsample_dim.0.0.weight"),
        (injection_name, "fuse.0.0.weight"),
        (injection_name, "fuse_skip.0"),
        (expert_student_name, "decoder.fuse_skip.0.0.weight"),
        (expert_student_name, "layer1.0.conv1.weight"),
        (expert_teacher_name, "layer1.0.conv1.weight"),
    ],
)
def test_unknown_names(rename, name):
    with pytest.raises(ValueError, match="is not a tensor of the authors'"):
        rename(name)


refused = partial(check_refused, partial(convert_urd, backbone="resnet18"))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"bn": {"conv1.weight": torch.zeros(1)}}, "'teacher' or 'student'"),
        ({"teacher": {"encoder.conv1.weight": torch.zeros(1)}}, "'student'"),
        ({"teacher": {"epoch": 3}, "student": {"bn.bn1.bias": torch.zeros(1)}}, "'teacher'"),
        (torch.zeros(1), "'teacher' or 'student'"),
    ],
)
def test_missing_parts_are_named(tmp_path, content, named):
    torch.save(content, tmp_path / "authors.pth")
    refused(tmp_path, tmp_path / "authors.pth", rf"authors\.pth' .* it has no tensors under {named}\.$")


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (
            "resnet50",
            r"teacher\.encoder\.layer1\.0\.conv1\.weight has shape \(64, 64, 3, 3\), expected \(64, 64, 1, 1\)\.$",
        ),
        ("resnet34", r"among teacher\.\* there is nothing for our net\.layer1\.2\.conv1\.weight of shape \(64,"),
    ],
)
def test_wrong_backbone_names_the_first_tensor(tmp_path, source, backbone, message):
    refused(tmp_path, source, rf"does not fit backbone '{backbone}': {message}", backbone=backbone)


@pytest.mark.parametrize(
    ("part", "extra", "message"),
    [
        ("teacher", "encoder.layer1.2.conv1.weight", r"of shape \(5,\) has no place in the model"),
        ("teacher", "head.weight", r"is unknown \('head\.weight' is not a tensor of the authors' teacher"),
        ("student", "bn.head.weight", r"is unknown \('head\.weight' is not a tensor of the authors' bottleneck"),
        ("student", "fuse_skip.1.0.bias", r"of shape \(5,\) has no place in the model"),
    ],
)
def test_surplus_tensor(tmp_path, source, part, extra, message):
    changed = change(source, tmp_path / "authors.pth", part, **{extra: torch.zeros(5)})
    refused(tmp_path, changed, rf"authors\.pth' does not fit backbone 'resnet18': {part}\.{extra} {message}")


@pytest.mark.parametrize(
    ("part", "without", "message"),
    [
        ("teacher", "encoder.bn1.bias", r"among teacher\.\* there is nothing for our net\.bn1\.bias of shape \(64,\)"),
        ("student", "bn.", r"among student\.bn\.\* there is nothing for our \S+ of shape"),
        ("student", "conv3x3_simattn.", r"nothing for our injections\.0\.guidance\.0\.weight"),
    ],
)
def test_missing_tensor(tmp_path, source, part, without, message):
    changed = change(source, tmp_path / "authors.pth", part, without=without)
    refused(tmp_path, changed, message, injection="guided")


@pytest.mark.parametrize("injection", ["none", "attention"])
def test_no_such_student(tmp_path, source, injection):
    refused(tmp_path, source, f"injection must be 'guided' or 'unguided'.* got '{injection}'", injection=injection)


@pytest.mark.parametrize(("counted", "trained", "asked"), [(9, "guided", "unguided"), (0, "unguided", "guided")])
def test_injection_that_the_student_was_not_trained_with(tmp_path, source, counted, trained, asked):
    counts = {f"{part}.0.1.num_batches_tracked": torch.tensor(9) for part in ("fuse_encoder", "fuse_skip")}
    counts |= {f"conv3x3_simattn.{i}.1.num_batches_tracked": torch.tensor(counted) for i in (0, 1)}
    changed = change(source, tmp_path / "authors.pth", "student", **counts)
    refused(tmp_path, changed, f"injection '{asked}' does not fit .* trained {trained}", injection=asked)
    convert_urd(changed, tmp_path / "ours.ckpt", backbone="resnet18", injection=trained)
