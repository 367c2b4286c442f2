# SPDX-License-Identifier: Apache-2.0
"""Bad data and bad arguments: one clear message each, and nothing half-written."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from anomalib.data import Folder
from PIL import Image

from .conftest import BACKBONE, SIZE, Method, cpu_engine, one_method, tile_data


def _train(method: Method, root: Path, folder: Path, **arguments: object) -> list[dict]:
    model = method(
        BACKBONE,
        pre_trained=False,
        pre_processor=method.configure_pre_processor((SIZE, SIZE)),
        visualizer=False,
        **arguments,
    )
    return cpu_engine(folder, max_epochs=1).train(model=model, datamodule=tile_data(root))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _black(path: Path) -> None:
    Image.new("L", (96, 96)).save(path)


IMAGE = Path("tile/train/good/003.png")
MASK = Path("tile/ground_truth/stain/001_mask.png")


@one_method
@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        (IMAGE, _empty, "the file is empty."),
        (MASK, _black, "the mask of an anomalous image marks no pixel."),
    ],
)
def test_bad_file_stops_the_run_by_name(
    method: Method,
    root: Path,
    tmp_path: Path,
    file: Path,
    spoil: Callable[[Path], None],
    message: str,
) -> None:
    spoil(root / file)
    with pytest.raises(ValueError, match="Data check: 1 problem") as caught:
        _train(method, root, tmp_path)
    assert f"{root / file} | {message}" in str(caught.value)
    assert not list(tmp_path.glob("**/*.ckpt"))


@one_method
def test_bad_files_can_be_left_out(
    method: Method,
    root: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _empty(root / IMAGE)
    _black(root / MASK)
    with caplog.at_level(logging.WARNING):
        (metrics,) = _train(method, root, tmp_path, on_bad_data="skip")
    # The test set is the validation set, so its image is left out of both.
    assert "3 images are left out." in caplog.text
    assert "pixel_AUPRO" in metrics


def test_unknown_choice_for_bad_data(method: Method) -> None:
    with pytest.raises(ValueError, match="on_bad_data must be 'error', 'skip', 'warn' or 'off', got 'ignore'"):
        method(BACKBONE, pre_trained=False, on_bad_data="ignore").configure_callbacks()


def test_category_without_defects_has_no_metrics(
    method: Method,
    root: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for folder in ("test/scratch", "test/stain", "ground_truth"):
        shutil.rmtree(root / "tile" / folder)
    with caplog.at_level(logging.WARNING):
        (metrics,) = _train(method, root, tmp_path)
    assert metrics == {}
    assert "| there is no defect, so AUROC, F1 and AUPRO are undefined." in caplog.text
    assert "image_AUROC (not both normal and anomalous images)" in caplog.text


@one_method
def test_data_without_masks_leaves_pixel_metrics_out(
    method: Method,
    root: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = Folder(
        name="tile",
        root=root / "tile",
        normal_dir="train/good",
        abnormal_dir="test/stain",
        normal_test_dir="test/good",
        num_workers=0,
    )
    model = method(BACKBONE, pre_trained=False, visualizer=False)
    with caplog.at_level(logging.WARNING):
        (metrics,) = cpu_engine(tmp_path, max_epochs=1).train(model=model, datamodule=data)
    assert set(metrics) == {"image_AUROC", "image_F1Score"}
    left_out = [record for record in caplog.records if "left out" in record.message]
    assert len(left_out) == 1
    assert "pixel_AUPRO (no masks)" in left_out[0].message
