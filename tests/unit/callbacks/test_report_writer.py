# SPDX-License-Identifier: Apache-2.0
"""A report after each test."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from anomalib.data import ImageBatch
from lightning.pytorch import LightningModule
from PIL import Image

from rd_plugin.callbacks import ReportWriter


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
