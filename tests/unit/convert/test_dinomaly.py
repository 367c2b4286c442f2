# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the Dinomaly authors' program; its numbers are in tests/unit/models/reverse_distillation."""

import pytest
import timm
import torch

from rd_plugin import ReverseDistillation
from rd_plugin.convert import convert_dinomaly
from rd_plugin.convert.dinomaly import program_positions, used_blocks

from .foreign import check_refused, fill

pytestmark = pytest.mark.usefixtures("no_downloads")

BACKBONE, DEPTH = "test_vit", 2


@pytest.fixture(scope="module")
def authors(tmp_path_factory):
    """Their checkpoint, were its teacher a tiny one, with DINOv2's names and a table for 37 x 37 patches."""
    net = fill(timm.create_model(BACKBONE, num_classes=0, img_size=37 * 16))
    encoder = net.state_dict()
    ours = ReverseDistillation(BACKBONE, pre_trained=False, student_depth=DEPTH, visualizer=False).model
    fill(ours.bottleneck)
    fill(ours.student)
    tensors = {f"encoder.{name}": tensor for name, tensor in encoder.items()} | {
        "encoder.mask_token": torch.zeros(1, 64)
    }
    tensors |= {f"bottleneck.0.{name}": tensor for name, tensor in ours.bottleneck.state_dict().items()}
    tensors |= {f"decoder.{name.removeprefix('blocks.')}": tensor for name, tensor in ours.student.state_dict().items()}
    path = tmp_path_factory.mktemp("authors") / "model.pth"
    torch.save(tensors, path)
    return path, tensors


def test_everything_has_its_place(tmp_path, authors):
    source, theirs = authors
    convert_dinomaly(source, tmp_path / "ours.ckpt", BACKBONE)
    model = ReverseDistillation.load_from_checkpoint(tmp_path / "ours.ckpt").eval()
    network = model.model
    # 28 x 28 patches of 16 pixels, cut out of 512 x 512 pixels.
    assert model.resized_to == [448, 448]
    assert model.describe().crop == [["resize", [512, 512], None], ["crop", [448, 448]]]
    state = network.teacher.net.state_dict()
    table = theirs["encoder.pos_embed"]
    assert torch.equal(state["cls_token"], theirs["encoder.cls_token"])
    assert torch.equal(state["pos_embed"][:, :1], table[:, :1])
    torch.testing.assert_close(state["pos_embed"][:, 1:], program_positions(table[:, 1:], (28, 28)))
    for name, tensor in network.student.state_dict().items():
        assert torch.equal(tensor, theirs[f"decoder.{name.removeprefix('blocks.')}"])
    for name, tensor in network.bottleneck.state_dict().items():
        assert torch.equal(tensor, theirs[f"bottleneck.0.{name}"])
    with torch.no_grad():
        assert model(torch.rand(1, 3, 60, 80)).anomaly_map.shape == (1, 1, 448, 448)
    assert model.provenance.converted_from == "Dinomaly"


def test_blocks_after_the_last_one_are_left_out():
    teacher = ReverseDistillation(BACKBONE, layers=["blocks.1", "blocks.3"], pre_trained=False).model.teacher
    whole = timm.create_model(BACKBONE).state_dict()
    assert used_blocks(whole, teacher).keys() == teacher.net.state_dict().keys()


@pytest.mark.parametrize(
    ("change", "backbone", "message"),
    [
        (lambda file: file.pop("encoder.cls_token"), BACKBONE, "there is no encoder.cls_token"),
        (lambda file: file.update({"decoder.0.strange": torch.ones(1)}), BACKBONE, "decoder.0.strange .* has no place"),
        (lambda file: file.pop("bottleneck.0.fc1.bias"), BACKBONE, "there is nothing for our fc1.bias"),
        (lambda _: None, "resnet18", "'resnet18', which is no plain vision transformer"),
        (lambda _: None, "test_vit3", r"encoder\.net\.cls_token of shape .* has no place"),
        (
            lambda file: [file.pop(name) for name in list(file) if name.startswith("decoder.")],
            BACKBONE,
            "not a checkpoint of the Dinomaly authors' program: it has no tensors under 'decoder'",
        ),
    ],
)
def test_files_that_do_not_fit(tmp_path, authors, change, backbone, message):
    tensors = dict(authors[1])
    change(tensors)
    torch.save(tensors, tmp_path / "model.pth")
    check_refused(convert_dinomaly, tmp_path, tmp_path / "model.pth", message, backbone)
