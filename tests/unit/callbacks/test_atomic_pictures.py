# SPDX-License-Identifier: Apache-2.0
"""Pictures are there whole or not at all."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from anomalib.data import ImageBatch
from anomalib.visualization import ImageVisualizer
from lightning.pytorch import LightningModule

from rd_plugin.callbacks import AtomicPictures


class _Model(LightningModule):
    def __init__(self, visualizer: ImageVisualizer | None) -> None:
        super().__init__()
        self.visualizer = visualizer


@pytest.fixture
def trainer(tmp_path: Path) -> SimpleNamespace:
    return SimpleNamespace(default_root_dir=tmp_path)


@pytest.fixture
def batch(mvtec_root: Path) -> ImageBatch:
    return ImageBatch(
        image=torch.rand(2, 3, 8, 8),
        anomaly_map=torch.rand(2, 8, 8),
        pred_mask=torch.rand(2, 8, 8) > 0.5,
        gt_mask=torch.rand(2, 8, 8) > 0.5,
        image_path=[str(mvtec_root / f"tile/test/good/{name}.png") for name in ("000", "001")],
    )


def _pictures(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}


@pytest.mark.parametrize("stage", ["test", "predict"])
@pytest.mark.parametrize("own", [False, True])
def test_pictures_of_a_batch_are_drawn_hidden_and_moved(
    trainer: SimpleNamespace, batch: ImageBatch, tmp_path: Path, stage: str, own: bool
) -> None:
    folder = tmp_path / "own" if own else tmp_path / "images"
    visualizer, callback = ImageVisualizer(output_dir=folder if own else None), AtomicPictures()
    model = _Model(visualizer)
    getattr(callback, f"on_{stage}_start")(trainer, model)
    visualizer.on_test_batch_end(trainer, model, batch, batch, 0)
    assert not (folder / "good").exists()
    assert len(_pictures(folder)) == 2
    getattr(callback, f"on_{stage}_batch_end")(trainer, model, batch, batch, 0)
    assert _pictures(folder) == {"good/000.png", "good/001.png"}
    getattr(callback, f"on_{stage}_end")(trainer, model)
    assert [path.name for path in folder.iterdir()] == ["good"]
    assert visualizer.output_dir == folder


def test_pictures_of_a_failed_batch_are_dropped(trainer: SimpleNamespace, batch: ImageBatch, tmp_path: Path) -> None:
    visualizer, callback = ImageVisualizer(), AtomicPictures()
    model = _Model(visualizer)
    callback.on_test_start(trainer, model)
    visualizer.on_test_batch_end(trainer, model, batch, batch, 0)
    callback.on_exception(trainer, model, OSError())
    assert list((tmp_path / "images").iterdir()) == []
    assert visualizer.output_dir == tmp_path / "images"


def test_nothing_is_done_without_a_visualizer(trainer: SimpleNamespace, batch: ImageBatch, tmp_path: Path) -> None:
    callback, model = AtomicPictures(), _Model(None)
    callback.on_test_start(trainer, model)
    callback.on_test_batch_end(trainer, model, batch, batch, 0)
    callback.on_test_end(trainer, model)
    assert list(tmp_path.iterdir()) == []
