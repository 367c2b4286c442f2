# SPDX-License-Identifier: Apache-2.0
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rd_plugin.data.labels import content_digest, is_held_out
from rd_plugin.feedback import update, update_model
from rd_plugin.inspection import Inspector
from rd_plugin.provenance import RECORD_KEY, read_sums
from tests.compatibility.make_files import FILES, draw

from .conftest import other, save


@pytest.fixture(autouse=True)
def _few_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update, "_FOLDS", 2)


@pytest.fixture
def good(tmp_path: Path) -> list[Path]:
    return save(tmp_path / "new", other(24, seed=5))


def _defects(folder: Path) -> list[Path]:
    images = draw(6, seed=6)
    images[:, 8:14, 8:14] = 0
    return save(folder, images)


def test_false_alarms_become_normal(model: Path, good: list[Path], tmp_path: Path) -> None:
    before = model.read_bytes()
    old = save(tmp_path / "old", draw(12, seed=8))
    found = update_model(model, tmp_path / "new.ckpt", good, old=old, defects=_defects(tmp_path / "bad"), tolerate=1)
    assert model.read_bytes() == before
    assert found.good[0].rate > found.good[1].rate
    assert found.learned + found.good[0].total == 24
    assert found.old is not None
    assert found.defects is not None
    record = json.loads((tmp_path / "new.json").read_text())
    assert [entry["learned"] for entry in record["updates"]] == [found.learned]
    assert record["thresholds"][-1]["update"] == found.learned
    # Images that the update has not seen.
    fresh = save(tmp_path / "fresh", other(12, seed=9))
    verdicts = [[r.verdict for r in Inspector(path, threads=1)(fresh)] for path in (model, tmp_path / "new.ckpt")]
    assert verdicts[0].count("anomalous") > verdicts[1].count("anomalous")
    again = update_model(tmp_path / "new.ckpt", tmp_path / "again.ckpt", good[:20])
    assert again.old is None
    assert len(json.loads((tmp_path / "again.json").read_text())["updates"]) == 2


def test_lost_defects_are_refused(
    model: Path, good: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update, "_thresholds", lambda *_: (0.9999, 0.9999))
    files = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"of 24 defects, the old model .* more are lost than tolerate 0\.02"):
        update_model(model, tmp_path / "new.ckpt", save(tmp_path / "more", other(20, seed=1)), defects=good)
    assert sorted(path for path in tmp_path.iterdir() if path.name != "more") == files


@pytest.mark.parametrize("overwrite", [False, True])
def test_old_model_stays_where_writing_fails(
    model: Path, good: list[Path], overwrite: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in model.parent.iterdir() if path.is_file()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(update.torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        update_model(model, model if overwrite else model.with_name("new.ckpt"), good, overwrite=overwrite)
    assert {path: path.read_bytes() for path in model.parent.iterdir() if path.is_file()} == before


def test_what_cannot_be(model: Path, good: list[Path], tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="exists already"):
        update_model(model, model, good)
    with pytest.raises(ValueError, match="is also among the defects: the update never learns from a defect"):
        update_model(model, tmp_path / "new.ckpt", good, defects=good[3:4])
    with pytest.raises(ValueError, match="2 new good images are too few"):
        update_model(model, tmp_path / "new.ckpt", good[:2])
    with pytest.raises(ValueError, match="tolerate must be a share between 0 and 1, got 2"):
        update_model(model, tmp_path / "new.ckpt", good, tolerate=2)
    shutil.copy(FILES / "0.2.0" / "fused_reverse_distillation" / "model.ckpt", tmp_path / "old.ckpt")
    with pytest.raises(ValueError, match=r"old\.ckpt\.sums' is missing: the sums of the training images"):
        update_model(tmp_path / "old.ckpt", tmp_path / "new.ckpt", good)
    assert not (tmp_path / "new.ckpt").exists()


def test_other_models_go_on_training(good: list[Path], tmp_path: Path) -> None:
    model = tmp_path / "old.ckpt"
    shutil.copy(FILES / "0.2.0" / "reverse_distillation" / "model.ckpt", model)
    with pytest.raises(ValueError, match="give training, the folder of the images"):
        update_model(model, tmp_path / "new.ckpt", good, steps=2)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        update_model(model, tmp_path / "new.ckpt", good, steps=0)
    training = save(tmp_path / "training", draw(12, seed=0))
    found = update_model(model, tmp_path / "new.ckpt", good, training=training, steps=2)
    assert found.learned + found.good[0].total == 24
    before, after = (torch.load(path, weights_only=False) for path in (model, tmp_path / "new.ckpt"))
    assert after[RECORD_KEY]["steps"] == before[RECORD_KEY]["steps"] + 2
    assert [entry["learned"] for entry in after[RECORD_KEY]["updates"]] == [found.learned]
    changed = {
        name for name, value in before["state_dict"].items() if not torch.equal(after["state_dict"][name], value)
    }
    assert any(name.startswith("model.student.") for name in changed)
    assert not any(name.startswith("model.teacher.") for name in changed)
    assert not (tmp_path / "new.ckpt.sums").exists()


def test_images_that_the_training_held_out_are_not_learned_from(model: Path, good: list[Path], tmp_path: Path) -> None:
    folder = save(tmp_path / "parts", draw(40, seed=0))
    apart = set(torch.load(model, weights_only=False)[RECORD_KEY]["data"]["held_out"])
    held_out = [path for path in folder if content_digest(path) in apart]
    assert 0 < len(held_out) < 40
    found = update_model(model, tmp_path / "new.ckpt", [*good, *held_out], training=folder)
    assert found.old is not None
    assert found.old[0].total == len(held_out)
    assert found.learned == sum(not is_held_out(content_digest(path)) for path in good)


def test_sums_are_no_part_of_the_checkpoint(model: Path) -> None:
    content = torch.load(model, weights_only=False)
    assert not any("sums" in name for name in content["state_dict"])
    assert content["callbacks"]["FusedStatistics"] == {}
    products = read_sums(model, content)["evidence"]["teacher"]["products"]
    assert products.dtype == torch.float32
    assert np.isfinite(products.numpy()).all()


def test_checkpoint_that_holds_the_sums_itself(model: Path, good: list[Path], tmp_path: Path) -> None:
    """As the first versions that could be updated wrote it."""
    content = torch.load(model, weights_only=False)
    content["callbacks"]["FusedStatistics"] = dict(read_sums(model, content))
    torch.save(content, tmp_path / "whole.ckpt")
    update_model(tmp_path / "whole.ckpt", tmp_path / "first.ckpt", good)
    update_model(model, tmp_path / "second.ckpt", good)
    first, second = (torch.load(tmp_path / name, weights_only=False) for name in ("first.ckpt", "second.ckpt"))
    assert all(torch.equal(first["state_dict"][name], value) for name, value in second["state_dict"].items())
    assert first["callbacks"]["FusedStatistics"] == {}
