# SPDX-License-Identifier: Apache-2.0
"""What a training records of good images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.data import AnomalibDataModule
from anomalib.data.utils import ValSplitMode
from lightning.pytorch import Trainer
from PIL import Image

from rd_plugin import MVTec, PartsFolder, ReverseDistillation
from rd_plugin.drift import Reference, image_statistics
from rd_plugin.provenance import RECORD_KEY, Provenance

from ..models.base import SMALL
from ..trainers import quiet_trainer


def fit(datamodule: AnomalibDataModule, folder: Path, **arguments: object) -> tuple[ReverseDistillation, Trainer]:
    model = ReverseDistillation(**SMALL, image_size=(32, 32))
    trainer = quiet_trainer(folder, max_steps=2, num_sanity_val_steps=0, **arguments)
    trainer.fit(model, datamodule=datamodule)
    return model, trainer


def reference_of(model: ReverseDistillation) -> Reference | None:
    return Reference.of(model.describe().reference)


@pytest.fixture
def parts(mvtec_root: Path) -> PartsFolder:
    return PartsFolder(mvtec_root / "tile" / "train", num_workers=0, train_batch_size=2)


def test_training_images_and_held_out_scores(parts: PartsFolder, tmp_path: Path) -> None:
    model, trainer = fit(parts, tmp_path)
    reference = reference_of(model)
    assert reference is not None
    trained = [np.asarray(Image.open(path).convert("RGB")) for path in parts.train_data.samples["image_path"]]
    np.testing.assert_array_equal(reference.statistics, np.stack(list(map(image_statistics, trained))))
    # As the model gives them from now on.
    model.eval()
    with torch.inference_mode():
        scores = {
            path: score
            for batch in parts.val_dataloader()
            for path, score in zip(batch.image_path, model(batch.image).pred_score.flatten().tolist(), strict=True)
        }
    assert reference.scores.tolist() == pytest.approx([scores[path] for path in sorted(scores)], abs=1e-5)
    assert len(reference.scores) > 0
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)[RECORD_KEY]
    assert content["reference"] == model.describe().reference
    loaded = ReverseDistillation.load_from_checkpoint(tmp_path / "model.ckpt")
    assert loaded.describe().id == Provenance.of({RECORD_KEY: content}).id
    assert loaded.describe().reference == content["reference"]


def test_images_that_are_tested_on_are_not_used(mvtec_root: Path, tmp_path: Path) -> None:
    """anomalib's usual validation set is the test set."""
    data = MVTec(mvtec_root, "tile", 4, num_workers=0)
    assert data.val_split_mode == ValSplitMode.SAME_AS_TEST
    reference = reference_of(fit(data, tmp_path)[0])
    assert reference is not None
    assert (len(reference.statistics), len(reference.scores)) == (12, 0)


def test_without_validation_there_are_no_scores(parts: PartsFolder, tmp_path: Path) -> None:
    reference = reference_of(fit(parts, tmp_path, limit_val_batches=0)[0])
    assert reference is not None
    assert (len(reference.statistics) > 0, len(reference.scores)) == (True, 0)


def test_evaluation_leaves_the_reference_as_it_is(parts: PartsFolder, tmp_path: Path) -> None:
    model, trainer = fit(parts, tmp_path)
    before = model.describe().reference
    trainer.validate(model, datamodule=parts)
    trainer.test(model, datamodule=parts)
    assert model.describe().reference == before


def test_records_without_a_reference_keep_their_id() -> None:
    record = Provenance(method="ReverseDistillation", steps=2, date="2026-01-01")
    assert record.id == "3a6c50f2ea4e"
    old = record.plain()
    del old["reference"]
    assert Provenance.of({RECORD_KEY: old}) == record
