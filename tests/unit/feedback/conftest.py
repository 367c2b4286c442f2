# SPDX-License-Identifier: Apache-2.0
"""A small fused model, and images that are brighter in a corner than those it was trained on."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from anomalib.engine import Engine
from PIL import Image

from rd_plugin import FusedReverseDistillation, PartsFolder
from tests.compatibility.make_files import MODELS, SMALL, draw


def save(folder: Path, images: np.ndarray) -> list[Path]:
    """Save images, and return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{index:02}.png" for index in range(len(images))]
    for image, file in zip(images, files, strict=True):
        Image.fromarray(image).save(file)
    return files


def other(count: int, seed: int) -> np.ndarray:
    """Images of good parts with a mark that those of the training do not have."""
    images = draw(count, seed)
    images[:, 2:6, 2:6, 0] = 255
    return images


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint."""
    folder = tmp_path_factory.mktemp("trained")
    save(folder / "parts" / "good", draw(40, seed=0))
    data = PartsFolder(folder / "parts", name="waves", train_batch_size=4, num_workers=0)
    engine = Engine(max_steps=2, accelerator="cpu", logger=False, default_root_dir=folder, enable_progress_bar=False)
    engine.fit(FusedReverseDistillation(**SMALL, **MODELS["fused_reverse_distillation"][1]), datamodule=data)
    engine.trainer.save_checkpoint(folder / "model.ckpt")
    return folder / "model.ckpt"


@pytest.fixture
def model(trained_once: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint, with its record and sums."""
    for name in ("model.ckpt", "model.ckpt.sums", "model.json"):
        shutil.copy(trained_once.with_name(name), tmp_path / name)
    return tmp_path / "model.ckpt"
