# SPDX-License-Identifier: Apache-2.0
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rd_plugin.inspection import Inspector
from rd_plugin.thresholds import writing
from rd_plugin.thresholds.writing import write_threshold
from tests.compatibility.make_files import FILES, draw

FOLDER = FILES / "0.2.0" / "fused_reverse_distillation"
IMAGES = draw(4, seed=7)


@pytest.fixture(autouse=True)
def _trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A checkpoint beside a torch export and their record."""
    shutil.copytree(FOLDER, tmp_path / "models")
    return tmp_path / "models" / "model.ckpt"


def _scores(path: Path, unclipped: bool = False) -> np.ndarray:
    inspector = Inspector(path, threads=1, unclipped=unclipped)
    return np.array([inspector.predict(image).score for image in IMAGES])


@pytest.mark.parametrize("suffix", [".ckpt", ".pt"])
def test_score_becomes_the_threshold_and_the_order_stays(model: Path, suffix: str) -> None:
    model = model.with_suffix(suffix)
    before = _scores(model, unclipped=True)
    content = model.read_bytes()
    new = write_threshold(model, model.with_name(f"new{suffix}"), float(before[1]), 0.4, {"rate": 0.01})
    after = _scores(new)
    assert after[1] == pytest.approx(0.5, abs=1e-5)
    assert list(np.argsort(after)) == list(np.argsort(before))
    assert model.read_bytes() == content
    record = json.loads(new.with_suffix(".json").read_text())
    assert record["thresholds"][0]["rate"] == 0.01
    assert record["thresholds"][0]["score"] == pytest.approx(before[1], abs=1e-5)
    again = write_threshold(new, model.with_name(f"again{suffix}"), 0.25, 0.25, {})
    assert len(json.loads(again.with_suffix(".json").read_text())["thresholds"]) == 2


def test_checkpoint_and_export_with_one_threshold_predict_alike(model: Path) -> None:
    files = [
        write_threshold(model.with_suffix(suffix), model.with_name(f"new{suffix}"), 0.3, 0.35, {})
        for suffix in (".ckpt", ".pt")
    ]
    first, second = ([Inspector(file, threads=1).predict(image) for image in IMAGES] for file in files)
    for one, other in zip(first, second, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert one.verdict == other.verdict
        np.testing.assert_allclose(one.picture.anomaly_map, other.picture.anomaly_map, atol=1e-4)


def test_reference_follows(model: Path) -> None:
    new = write_threshold(model, model.with_name("new.ckpt"), 0.25, 0.25, {})
    before, after = (np.array(Inspector(path, threads=1).inferencer.reference.scores) for path in (model, new))
    low = before < 0.25
    np.testing.assert_allclose(after[low], 2 * before[low], atol=1e-5)


@pytest.mark.parametrize(
    ("output", "value", "error", "message"),
    [
        ("new.onnx", 0.4, ValueError, "must end in '.ckpt'"),
        ("new.ckpt", 0.0, ValueError, "must be a score above 0 and below 1, got 0"),
        ("model.ckpt", 0.4, FileExistsError, "exists already"),
    ],
)
def test_what_cannot_be(model: Path, output: str, value: float, error: type[Exception], message: str) -> None:
    before = {path.name for path in model.parent.iterdir()}
    with pytest.raises(error, match=message):
        write_threshold(model, model.with_name(output), value, 0.4, {})
    assert {path.name for path in model.parent.iterdir()} == before


@pytest.mark.parametrize("suffix", [".ckpt", ".pt"])
def test_nothing_changes_where_writing_fails(model: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model.with_suffix(suffix)
    before = {path: path.read_bytes() for path in model.parent.iterdir()}

    def half(_content: object, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.torch, "save", half)
    with pytest.raises(OSError, match="No space left"):
        write_threshold(model, model, 0.4, 0.4, {}, overwrite=True)
    assert {path: path.read_bytes() for path in model.parent.iterdir()} == before


def test_model_without_a_threshold(model: Path) -> None:
    content = torch.load(model, weights_only=False)
    content["state_dict"]["post_processor.image_max"].fill_(torch.nan)
    torch.save(content, model)
    with pytest.raises(ValueError, match="has no threshold that can be changed"):
        write_threshold(model, model.with_name("new.ckpt"), 0.4, 0.4, {})
