# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from anomalib.data import ImageBatch
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from rd_plugin import ExpertReverseDistillation, ReverseDistillation
from rd_plugin.callbacks import TwinPicture

SIDE, BORDER = 32, 2
# Three rows, each picture within a frame.
HEIGHT = 3 * (SIDE + BORDER) + BORDER
SMALL = {"backbone": "test_resnet", "layers": ["layer1"], "pre_trained": False, "visualizer": False}


def outputs(count: int = 3) -> dict[str, Tensor]:
    """White images, black in the twins where the mask is: the upper half."""
    images, masks = torch.ones(count, 3, SIDE, SIDE), torch.zeros(count, 1, SIDE, SIDE)
    masks[..., : SIDE // 2, :] = 1
    return {"loss": torch.zeros(()), "images": images, "twins": images * (1 - masks), "masks": masks}


def end_batch(callback: TwinPicture, folder: Path, result: object, is_global_zero: bool = True) -> None:
    trainer = SimpleNamespace(is_global_zero=is_global_zero, default_root_dir=str(folder))
    callback.on_train_batch_end(trainer, ReverseDistillation(**SMALL), result, None, 0)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize(
    ("count", "images", "shown"),
    [
        (8, 3, 3),
        (3, 3, 3),
        (2, 3, 2),
        (1, 3, 1),
        (8, 1, 1),
    ],
)
def test_three_rows(tmp_path: Path, count: int, images: int, shown: int) -> None:
    end_batch(TwinPicture(count=count), tmp_path, outputs(images))
    assert pixels(tmp_path / "twins.png").shape == (HEIGHT, shown * (SIDE + BORDER) + BORDER, 3)


def test_content(tmp_path: Path) -> None:
    end_batch(TwinPicture(), tmp_path, outputs())
    picture, middle = pixels(tmp_path / "twins.png")[..., 0], BORDER + SIDE // 2
    column = picture[:, middle]
    image, twin = column[BORDER : BORDER + SIDE], column[2 * BORDER + SIDE :][:SIDE]
    mask = column[-BORDER - SIDE : -BORDER]
    half = SIDE // 2
    assert (image == 255).all()
    assert (twin[:half] == 0).all()
    assert (twin[half:] == 255).all()
    assert (mask[:half] == 255).all()
    assert (mask[half:] == 0).all()


def test_first_batch_only(tmp_path: Path) -> None:
    callback = TwinPicture(tmp_path / "some" / "where" / "picture.png")
    end_batch(callback, tmp_path, outputs())
    before = (tmp_path / "some" / "where" / "picture.png").read_bytes()
    end_batch(callback, tmp_path, {**outputs(), "twins": outputs()["images"]})
    assert (tmp_path / "some" / "where" / "picture.png").read_bytes() == before
    assert [path.name for path in tmp_path.rglob("*.png")] == ["picture.png"]


def test_first_process_only(tmp_path: Path) -> None:
    end_batch(TwinPicture(), tmp_path, outputs(), is_global_zero=False)
    assert not list(tmp_path.iterdir())


def test_half_precision(tmp_path: Path) -> None:
    half = {name: tensor.bfloat16() for name, tensor in outputs().items()}
    end_batch(TwinPicture(), tmp_path, half)
    end_batch(TwinPicture(tmp_path / "single.png"), tmp_path, outputs())
    assert np.array_equal(pixels(tmp_path / "twins.png"), pixels(tmp_path / "single.png"))


@pytest.mark.parametrize("result", [torch.zeros(()), None, {"loss": torch.zeros(())}])
def test_model_without_twins(tmp_path: Path, result: object) -> None:
    message = "TwinPicture: ReverseDistillation is not trained with twins of its images"
    with pytest.raises(TypeError, match=message):
        end_batch(TwinPicture(), tmp_path, result)


@pytest.mark.parametrize("count", [0, -1])
def test_bad_count(count: int) -> None:
    with pytest.raises(ValueError, match=rf"count must be at least 1, got {count}"):
        TwinPicture(count=count)


@pytest.mark.parametrize("train_teacher", [True, False])
def test_in_training(tmp_path: Path, train_teacher: bool) -> None:
    trainer = Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        max_steps=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[TwinPicture()],
    )
    model = ExpertReverseDistillation(**SMALL, pre_processor=False, train_teacher=train_teacher)
    images = [ImageBatch(image=torch.rand(2, 3, SIDE, SIDE)) for _ in range(2)]
    trainer.fit(model, DataLoader(images, batch_size=None))
    assert pixels(tmp_path / "twins.png").shape == (HEIGHT, 2 * (SIDE + BORDER) + BORDER, 3)
