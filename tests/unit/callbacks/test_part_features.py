# SPDX-License-Identifier: Apache-2.0
"""What a training records of each part's features."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rd_plugin import ExpertReverseDistillation, FusedReverseDistillation, PartsFolder, ReverseDistillation
from rd_plugin.data.part_recognition import Recognizer
from rd_plugin.models.distillation import Distillation

from ..models.base import SMALL
from ..trainers import quiet_trainer


@pytest.fixture
def parts(tmp_path: Path) -> PartsFolder:
    """Dark and bright noise."""
    rng = np.random.default_rng(0)
    for part, level in (("dark", 20), ("bright", 200)):
        folder = tmp_path / "parts" / part / "good"
        folder.mkdir(parents=True)
        for index in range(12):
            Image.fromarray(rng.integers(level, level + 50, (32, 32, 3), np.uint8)).save(folder / f"{index}.png")
    return PartsFolder(tmp_path / "parts", num_workers=0, train_batch_size=2)


def fit(model: Distillation, parts: PartsFolder, folder: Path) -> Distillation:
    quiet_trainer(folder, max_steps=2, num_sanity_val_steps=0).fit(model, datamodule=parts)
    return model.eval()


@pytest.mark.parametrize("method", [ReverseDistillation, FusedReverseDistillation])
def test_each_part_is_recognized(parts: PartsFolder, tmp_path: Path, method: type[Distillation]) -> None:
    torch.manual_seed(0)
    model = fit(method(**SMALL, image_size=(32, 32)), parts, tmp_path)
    record = model.describe()
    assert {frozenset(content) for content in record.parts.values()} == {frozenset({"reference", "features"})}
    recognizer = Recognizer.of(record.parts)
    assert recognizer is not None
    for part in ("dark", "bright"):
        pixels = np.array([np.asarray(Image.open(path)) for path in (tmp_path / "parts" / part).rglob("*.png")])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
        with torch.no_grad():
            features = model.model.pooled_features(model.pre_processor(images)).numpy()
        assert {recognizer.candidates(row) for row in features} == {(part,)}


def test_an_export_of_one_part_does_not_hold_the_others(parts: PartsFolder, tmp_path: Path) -> None:
    record = fit(ReverseDistillation(**SMALL, image_size=(32, 32)), parts, tmp_path).describe()
    assert record.of_part("dark").parts == {}


def test_one_part_and_trained_teachers_have_none(parts: PartsFolder, tmp_path: Path) -> None:
    one = PartsFolder(tmp_path / "parts" / "dark", num_workers=0, train_batch_size=2)
    assert fit(ReverseDistillation(**SMALL, image_size=(32, 32)), one, tmp_path).describe().parts == {}
    expert = ExpertReverseDistillation(**SMALL, image_size=(32, 32), train_teacher=True)
    assert Recognizer.of(fit(expert, parts, tmp_path).describe().parts) is None
