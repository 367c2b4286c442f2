# SPDX-License-Identifier: Apache-2.0
"""``python -m rd_plugin.predict`` on an export."""

from pathlib import Path

from anomalib.deploy import ExportType
from anomalib.engine import Engine

from .conftest import Trained, run_cli


def test_verdict_and_score_of_each_image(trained: Trained, mvtec_root: Path, tmp_path: Path) -> None:
    model = trained.method.load_from_checkpoint(trained.checkpoint)
    path = Engine().export(model, ExportType.OPENVINO, export_root=tmp_path)
    images = [mvtec_root / "tile/test/stain/000.png", mvtec_root / "tile/train/good/000.png"]
    output = run_cli(tmp_path, "-m", "rd_plugin.predict", path, *images, program="python")
    assert "000.png: anomalous, score " in output
    assert "000.png: normal, score " in output
