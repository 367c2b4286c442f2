# SPDX-License-Identifier: Apache-2.0
"""What a trainer is given is looked at in every stage, whatever it comes in."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.data import PredictDataset
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from rd_plugin import MVTec
from rd_plugin.callbacks import DataCheck

from ..trainers import quiet_trainer


class Means(LightningModule):
    """Predicts each image's mean."""

    def predict_step(self, batch: object) -> list[tuple[str, float]]:
        return [(Path(item.image_path).name, float(item.image.mean())) for item in batch]

    def test_step(self, batch: object) -> None:
        pass

    validation_step = test_step


@pytest.fixture
def deep(root: Path) -> Path:
    """An image of 16 bits, which anomalib reads as white."""
    path = root / "tile/test/stain/001.png"
    grey = np.asarray(Image.open(path).convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 257).save(path)
    return path


def trainer(folder: Path, *arguments: object) -> Trainer:
    return quiet_trainer(folder / "results", callbacks=[DataCheck(*arguments)])


def pictures(folder: Path) -> DataLoader:
    dataset = PredictDataset(folder)
    return DataLoader(dataset, collate_fn=dataset.collate_fn, batch_size=3)


def module(root: Path) -> MVTec:
    return MVTec(root, "tile", eval_batch_size=3, num_workers=0)


def split(root: Path) -> DataLoader:
    data = module(root)
    data.setup()
    return data.test_dataloader()


@pytest.mark.parametrize(
    "given",
    [
        lambda stage, root: getattr(trainer(root), stage)(Means(), datamodule=module(root)),
        lambda stage, root: getattr(trainer(root), stage)(Means(), split(root)),
        lambda stage, root: getattr(trainer(root), stage)(Means(), [split(root)]),
    ],
    ids=["datamodule", "loader", "loaders"],
)
@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_deep_image_is_refused_by_name(deep: Path, root: Path, stage: str, given: Callable[[str, Path], None]) -> None:
    with pytest.raises(ValueError, match="Data check: 1 problem") as caught:
        given(stage, root)
    assert f"{deep} | the image has mode I;16, more than 8 bits a channel" in str(caught.value)


@pytest.mark.parametrize("single", [True, False])
def test_folder_and_file_to_predict_are_looked_at(deep: Path, root: Path, single: bool) -> None:
    with pytest.raises(ValueError, match="Data check: 1 problem") as caught:
        trainer(root).predict(Means(), pictures(deep if single else deep.parent))
    assert str(deep) in str(caught.value)


@pytest.mark.parametrize("spoil", ["deep", "huge", "text"])
def test_bad_files_are_left_out_of_a_prediction_and_all_others_inspected(
    root: Path, deep: Path, spoil: str, caplog: pytest.LogCaptureFixture
) -> None:
    limit = 10_000
    if spoil == "huge":
        Image.new("RGB", (101, 100)).save(deep)
    if spoil == "text":
        deep.write_text("no image")
    with caplog.at_level(logging.WARNING):
        results = trainer(root, "skip", limit).predict(Means(), pictures(deep.parent))
    assert [name for batch in results for name, _ in batch] == ["000.png", "002.png", "003.png"]
    assert "1 images are left out." in caplog.text


def test_nothing_left_is_an_error(deep: Path, root: Path) -> None:
    with pytest.raises(ValueError, match=r"predict\s+\| no image is left\."):
        trainer(root, "skip").predict(Means(), pictures(deep))


def test_warning_and_no_check_let_a_prediction_go_on(deep: Path, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert trainer(root, "off").predict(Means(), pictures(deep)) == [[("001.png", 1.0)]]
        assert not caplog.messages
        trainer(root, "warn").predict(Means(), pictures(deep))
    assert f"{deep} | the image has mode I;16" in caplog.text


def test_data_that_are_not_known_before_are_said_to_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Nothing(Means):
        def predict_step(self, batch: object) -> None:
            pass

    with caplog.at_level(logging.WARNING):
        trainer(tmp_path).predict(Nothing(), DataLoader(TensorDataset(torch.zeros(2, 1))))
    assert "Data check: the files of TensorDataset are unknown and are not checked." in caplog.messages


def test_name_cannot_forge_a_line(tmp_path: Path) -> None:
    name = "a.png | fine\n  b.png"
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / name).write_text("no image")
    with pytest.raises(ValueError, match="Data check") as caught:
        trainer(tmp_path).predict(Means(), pictures(tmp_path / "images"))
    assert len(str(caught.value).splitlines()) == 4
    assert r"a.png | fine\n  b.png | the file is not an image" in str(caught.value)
