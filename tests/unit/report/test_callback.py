# SPDX-License-Identifier: Apache-2.0
"""A report after a test: whose results it holds, and what it costs if it cannot be written."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from anomalib.data import ImageBatch
from anomalib.post_processing import PostProcessor
from PIL import Image

from rd_plugin.report import ReportWriter

from .test_page import data


def run_test(tmp_path: Path, threshold: float, report: Path | None = None) -> ReportWriter:
    """Run the callback over a good image and a defect, which are files, and one without a number and a file."""
    for name in ("good/a.png", "defect/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((20, 40, 3), 99, np.uint8)).save(tmp_path / name)
    post_processor = PostProcessor()
    for level in ("image", "pixel"):
        getattr(post_processor, f"_{level}_threshold").fill_(threshold)
    module = SimpleNamespace(post_processor=post_processor, pre_processor=None)
    trainer = SimpleNamespace(
        world_size=1, is_global_zero=True, callbacks=[], default_root_dir=tmp_path, callback_metrics={"AUROC": 0.5}
    )
    writer = ReportWriter(report)
    writer.on_test_start(trainer, module)
    batch = ImageBatch(
        image=torch.rand(3, 3, 8, 8),
        gt_label=torch.tensor([False, True, True]),
        pred_score=torch.tensor([0.125, 0.75, torch.nan]),
        pred_label=torch.tensor([False, True, True]),
        anomaly_map=torch.rand(3, 1, 8, 8),
        image_path=[str(tmp_path / "good/a.png"), str(tmp_path / "defect/b.png"), "no file"],
    )
    writer.on_test_batch_end(trainer, module, batch)
    writer.on_test_end(trainer, module)
    return writer


def test_results_of_a_test(tmp_path: Path) -> None:
    writer = run_test(tmp_path, threshold=0.0)
    assert writer.written == tmp_path / "report.html"
    page = writer.written.read_text(encoding="utf-8")
    assert data(page)["rows"] == [
        ["no file", None, True, True, "", []],
        ["defect/b.png", 0.75, True, True, "", []],
        ["good/a.png", 0.125, False, False, "", []],
    ]
    assert page.count('<script type="text/plain" id="i') == page.count('<script type="text/plain" id="o') == 2
    assert "SimpleNamespace on images" in page


def test_without_a_threshold_there_are_no_verdicts(tmp_path: Path) -> None:
    writer = run_test(tmp_path, threshold=float("nan"))
    assert writer.written is not None
    found = data(writer.written.read_text(encoding="utf-8"))
    assert (found["threshold"], [row[2] for row in found["rows"]]) == (None, [None] * 3)


def test_report_that_cannot_be_written_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    assert run_test(tmp_path, 0.5, tmp_path / "file" / "report.html").written is None
    assert "could not be written" in caplog.text
