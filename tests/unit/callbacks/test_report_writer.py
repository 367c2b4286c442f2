# SPDX-License-Identifier: Apache-2.0
"""A report after each test."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from anomalib.data import ImageBatch
from anomalib.post_processing import PostProcessor
from lightning.pytorch import LightningModule
from PIL import Image

from rd_plugin.callbacks import ReportWriter
from rd_plugin.results import AS_A_WHOLE

from ...pictures import draw
from ..report.test_page import data


class _Module(LightningModule):
    pre_processor = None
    post_processor = None


def _tested(writer: ReportWriter, folder: Path, paths: list[str] | None) -> None:
    """Let a writer see a test of two images without labels."""
    trainer = SimpleNamespace(
        world_size=1, is_global_zero=True, callbacks=[], callback_metrics={}, default_root_dir=folder, datamodule=None
    )
    batch = ImageBatch(image=torch.rand(2, 3, 8, 8), image_path=paths, pred_score=torch.tensor([0.25, torch.nan]))
    writer.on_test_start(trainer, _Module())
    writer.on_test_batch_end(trainer, _Module(), batch)
    writer.on_test_end(trainer, _Module())


def _tested_with_labels(tmp_path: Path, threshold: float) -> ReportWriter:
    """Run the callback over a good image and a defect, which are files, and one without a number and a file."""
    for name in ("good/a.png", "defect/b.png"):
        draw(tmp_path / name, 99, (40, 20))
    post_processor = PostProcessor()
    for level in ("image", "pixel"):
        getattr(post_processor, f"_{level}_threshold").fill_(threshold)
    module = SimpleNamespace(post_processor=post_processor, pre_processor=None)
    trainer = SimpleNamespace(
        world_size=1, is_global_zero=True, callbacks=[], default_root_dir=tmp_path, callback_metrics={"AUROC": 0.5}
    )
    writer = ReportWriter()
    writer.on_test_start(trainer, module)
    batch = ImageBatch(
        image=torch.rand(3, 3, 8, 8),
        gt_label=torch.tensor([False, True, True]),
        pred_score=torch.tensor([0.125, 0.75, torch.nan]),
        pred_label=torch.tensor([False, True, True]),
        anomaly_map=torch.rand(3, 1, 8, 8),
        pred_mask=torch.tensor([False, False, True])[:, None, None].expand(3, 8, 8),
        image_path=[str(tmp_path / "good/a.png"), str(tmp_path / "defect/b.png"), "no file"],
    )
    writer.on_test_batch_end(trainer, module, batch)
    writer.on_test_end(trainer, module)
    return writer


def test_report_in_the_run_folder(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{name}.png") for name in "ab"]
    for path in paths:
        Image.new("RGB", (8, 8)).save(path)
    writer = ReportWriter()
    _tested(writer, tmp_path, paths)
    assert writer.written == tmp_path / "report.html"
    assert all(f"{name}.png" in writer.written.read_text() for name in "ab")


def test_images_without_files(tmp_path: Path) -> None:
    writer = ReportWriter(tmp_path / "other.html")
    _tested(writer, tmp_path, None)
    assert "image 1" in (tmp_path / "other.html").read_text()


def test_report_that_cannot_be_written_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    writer = ReportWriter(tmp_path / "file" / "report.html")
    _tested(writer, tmp_path, None)
    assert writer.written is None
    assert "could not be written" in caplog.text


def test_results_of_a_test(tmp_path: Path) -> None:
    writer = _tested_with_labels(tmp_path, threshold=0.0)
    assert writer.written == tmp_path / "report.html"
    page = writer.written.read_text(encoding="utf-8")
    assert data(page)["rows"] == [
        ["no file", None, True, True, "", [], ""],
        ["defect/b.png", 0.75, True, True, "", [], AS_A_WHOLE],
        ["good/a.png", 0.125, False, False, "", [], ""],
    ]
    assert page.count('<script type="text/plain" id="i') == page.count('<script type="text/plain" id="o') == 2
    assert "SimpleNamespace on images" in page


def test_without_a_threshold_there_are_no_verdicts(tmp_path: Path) -> None:
    writer = _tested_with_labels(tmp_path, threshold=float("nan"))
    assert writer.written is not None
    found = data(writer.written.read_text(encoding="utf-8"))
    assert (found["threshold"], [row[2] for row in found["rows"]]) == (None, [None] * 3)
