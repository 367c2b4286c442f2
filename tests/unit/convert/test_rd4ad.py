# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the authors' program."""

import shutil
from functools import partial

import numpy as np
import pytest
import torch

from rd_plugin import ReverseDistillation
from rd_plugin.convert import convert_rd4ad

from ...golden import fill as golden_numbers
from .foreign import check_refused, golden_parts

pytestmark = pytest.mark.usefixtures("no_downloads")


def test_maps_are_the_authors(tmp_path, golden):
    parts = golden_parts(golden, "rd4ad_resnet18", ("teacher", "bn", "decoder"))
    source, weights, output = tmp_path / "authors.pth", tmp_path / "teacher.pth", tmp_path / "ours.ckpt"
    torch.save({"bn": parts["bn"], "decoder": parts["decoder"]}, source)
    torch.save(parts["teacher"], weights)

    convert_rd4ad(source, output, backbone="resnet18", pre_trained=weights)
    # The checkpoint must hold the teacher, too.
    weights.unlink()
    model = ReverseDistillation.load_from_checkpoint(output).eval()
    with torch.inference_mode():
        prediction = model.model(torch.from_numpy(golden_numbers.image("input", (2, 3, 64, 64))))

    expected = np.load(golden / "rd4ad_resnet18.npz")
    np.testing.assert_allclose(prediction.anomaly_map.squeeze(1), expected["map_blurred_sigma4"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(prediction.pred_score.squeeze(1), expected["score"], rtol=0, atol=1e-4)


def test_teacher_in_the_checkpoint_counts_as_loaded(tmp_path, authors_resnet18, teacher_weights):
    weights, output = tmp_path / "teacher.pth", tmp_path / "ours.ckpt"
    shutil.copy(teacher_weights, weights)
    convert_rd4ad(authors_resnet18, output, backbone="resnet18", pre_trained=weights)
    weights.unlink()
    model = ReverseDistillation.load_from_checkpoint(output)
    # Would raise if it were read again, because the file is gone.
    model.model.teacher.load_pretrained()
    expected = torch.load(teacher_weights, weights_only=True)["layer3.1.bn2.running_mean"]
    assert torch.equal(model.model.teacher.net.layer3[1].bn2.running_mean, expected)


refused = partial(check_refused, convert_rd4ad)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"state_dict": {}}, "'bn' or 'decoder'"),
        ({"bn": {"conv1.weight": torch.zeros(1)}}, "'decoder'"),
        ({"bn": {"epoch": 3}, "decoder": {"layer1.0.bn1.bias": torch.zeros(1)}}, "'bn'"),
        (torch.zeros(1), "'bn' or 'decoder'"),
    ],
)
def test_missing_parts_are_named(tmp_path, content, named):
    torch.save(content, tmp_path / "authors.pth")
    refused(tmp_path, tmp_path / "authors.pth", rf"it has no tensors under {named}\.$")


def test_wrong_backbone_names_the_first_tensor_and_both_shapes(tmp_path, authors_resnet18):
    message = (
        r"does not fit backbone 'resnet50': "
        r"bn\.bn_layer\.0\.conv1\.weight has shape \(512, 768, 3, 3\), expected \(512, 3072, 1, 1\)\.$"
    )
    # With weights that would have to be downloaded: the file must be refused before.
    refused(tmp_path, authors_resnet18, message, backbone="resnet50", pre_trained=True)


def test_teacher_weights_do_not_exist(tmp_path, authors_resnet18):
    message = "pre_trained .* is neither a file nor an installed package"
    missing = str(tmp_path / "none.pth")
    refused(tmp_path, authors_resnet18, message, error=FileNotFoundError, backbone="resnet18", pre_trained=missing)
