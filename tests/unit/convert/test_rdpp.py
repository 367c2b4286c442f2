# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the RD++ authors' program."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rd_plugin import RevisitedReverseDistillation
from rd_plugin.convert import convert_rdpp

from ...golden import fill as golden_numbers
from .foreign import check_refused, golden_parts

pytestmark = pytest.mark.usefixtures("no_downloads")


@pytest.fixture(scope="module")
def parts(golden: Path) -> dict[str, dict[str, torch.Tensor]]:
    return golden_parts(golden, "rdpp_resnet18", ("teacher", "proj", "decoder", "bn"))


@pytest.fixture(scope="module")
def source(parts: dict[str, dict[str, torch.Tensor]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rdpp") / "authors.pth"
    torch.save({part: parts[part] for part in ("proj", "decoder", "bn")}, path)
    return path


def test_map_and_score_are_the_authors(
    parts: dict[str, dict[str, torch.Tensor]], source: Path, tmp_path: Path, golden: Path
) -> None:
    weights, output = tmp_path / "teacher.pth", tmp_path / "ours.ckpt"
    torch.save(parts["teacher"], weights)
    convert_rdpp(source, output, backbone="resnet18", pre_trained=weights)
    # The checkpoint must hold the teacher, too.
    weights.unlink()
    model = RevisitedReverseDistillation.load_from_checkpoint(output).eval().model
    with torch.inference_mode():
        prediction = model(torch.from_numpy(golden_numbers.image("input", (4, 3, 64, 64))))
    expected = np.load(golden / "rdpp_resnet18.npz")
    for name, actual in (("map_blurred_sigma4", prediction.anomaly_map), ("score", prediction.pred_score)):
        wanted = expected[name]
        np.testing.assert_allclose(
            actual.numpy().reshape(wanted.shape), wanted, rtol=0, atol=1e-4 * np.abs(wanted).max()
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"proj": {}}, r"is not a checkpoint of the RD\+\+ authors' program: it has no tensors under 'proj'\.$"),
        ({"proj": {"proj_d.proj.0.weight": torch.zeros(1)}}, r"proj\.proj_d\.proj\.0\.weight is unknown"),
    ],
)
def test_other_files_are_refused(source: Path, tmp_path: Path, change: dict, message: str) -> None:
    torch.save({**torch.load(source, weights_only=True), **change}, tmp_path / "authors.pth")
    authors = tmp_path / "authors.pth"
    check_refused(convert_rdpp, tmp_path, authors, message, backbone="resnet18", pre_trained=False)


def test_wrong_backbone(source: Path, tmp_path: Path) -> None:
    message = r"does not fit backbone 'resnet50': proj\.proj_a\.proj\.0\.weight has shape \(32, 64, 3, 3\), expected"
    check_refused(convert_rdpp, tmp_path, source, message, backbone="resnet50", pre_trained=True)
