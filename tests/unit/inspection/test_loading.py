# SPDX-License-Identifier: Apache-2.0
"""What runs a model, and models that cannot be used."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rd_plugin import ReverseDistillation
from rd_plugin.convert.files import write_checkpoint
from rd_plugin.evaluator import DistillationEvaluator
from rd_plugin.inspection import load_inferencer
from rd_plugin.post_processor import DistillationPostProcessor
from rd_plugin.provenance import RECORD_KEY, Provenance, hash_export, is_untrained, record_file, write_record
from rd_plugin.storage import read_plain

from ..models.base import SMALL, with_thresholds


def test_precision_of_others_is_float32(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.touch()
    with pytest.raises(
        ValueError,
        match=r"^precision must be 'float32', or 'bfloat16' or 'float16' for .*got 'bfloat16' for model",
    ):
        load_inferencer(path, precision="bfloat16")


def test_models_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.pth").touch()
    (tmp_path / "model.onnx").write_text("no model")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "foreign.ckpt")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "export.pt")
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    for name, expected in (
        ("none.xml", "is not a file"),
        (
            "model.pth",
            r"must be an OpenVINO model \(.xml\), an ONNX model \(.onnx\), a torch export \(.pt\) or a ch",
        ),
        ("model.onnx", "cannot be read by ONNX Runtime"),
        ("foreign.ckpt", "is not a checkpoint of one of the package's models"),
        ("text.ckpt", "was refused"),
        ("export.pt", "can run code when it is loaded.* set TRUST_REMOTE_CODE=1"),
    ):
        with pytest.raises((FileNotFoundError, ValueError), match=expected):
            load_inferencer(tmp_path / name)
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    with pytest.raises(ValueError, match=r"cannot be read as a torch export \(KeyError"):
        load_inferencer(tmp_path / "export.pt")


@pytest.fixture(scope="module")
def model() -> ReverseDistillation:
    """One that was never trained."""
    return ReverseDistillation("test_resnet", pre_trained=False)


def test_record_of_another_export_is_not_believed(
    save: Callable[..., Path], model: ReverseDistillation, caplog: pytest.LogCaptureFixture
) -> None:
    """An export is copied over another, whose record stays."""
    path = save()
    record = replace(model.describe(), steps=3)
    export = {"threshold": 0.7, "files": hash_export(path)}
    write_record(record_file(path), {**record.plain(), "export": export})
    assert set(export["files"]) == {"model.xml", "model.bin"}
    inferencer = load_inferencer(path, threads=1)
    assert (inferencer.record_id, inferencer.threshold) == (record.id, 0.7)
    assert not caplog.messages
    path.with_suffix(".bin").write_bytes(path.with_suffix(".bin").read_bytes() + b"0")
    inferencer = load_inferencer(path, threads=1)
    assert inferencer.threshold == 0.5
    assert re.fullmatch("[0-9a-f]{12}", inferencer.record_id)
    # Rows of another model without a record have another name.
    assert inferencer.record_id not in {record.id, load_inferencer(save("other"), threads=1).record_id}
    assert "belongs to another export than model.xml" in caplog.text


@pytest.mark.parametrize("name", ["model.xml", "model.onnx", "model.pt"])
def test_exports_of_a_model_that_was_never_trained(tmp_path: Path, model: ReverseDistillation, name: str) -> None:
    (tmp_path / name).touch()
    write_record(record_file(tmp_path / name), model.describe().plain())
    with pytest.raises(ValueError, match=r"has not been trained \(0 steps in model.json\)"):
        load_inferencer(tmp_path / name)


def test_checkpoints_of_no_steps_but_for_converted_ones(tmp_path: Path, model: ReverseDistillation) -> None:
    path = tmp_path / "model.ckpt"
    write_checkpoint(with_thresholds(model), path, "RD4AD")
    assert load_inferencer(path).record_id == Provenance(**read_plain(path)[RECORD_KEY]).id
    content = read_plain(path)
    content[RECORD_KEY]["converted_from"] = None
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"has not been trained \(0 steps in its record\)"):
        load_inferencer(path)
    # Earlier versions did not say what was converted.
    del content[RECORD_KEY]["converted_from"]
    assert not is_untrained(content[RECORD_KEY])


def _gives_no_verdict(kind: str, folder: Path) -> Path:
    """A model that was trained, but not validated, as a checkpoint or an export."""
    model = ReverseDistillation(**SMALL)
    path = folder / "model.ckpt"
    write_checkpoint(model, path, "RD4AD")
    if kind != "ckpt":
        path = getattr(model, {"pt": "to_torch", "onnx": "to_onnx", "xml": "to_openvino"}[kind])(folder)
        # As of a training.
        record = json.loads(record_file(path).read_text())
        write_record(record_file(path), {**record, "steps": 3})
    return path


@pytest.mark.parametrize(
    "kind", ["ckpt", "pt", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("onnx", "xml"))]
)
def test_model_without_threshold_in_each_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    path = _gives_no_verdict(kind, tmp_path)
    with pytest.raises(ValueError, match=rf"^model '{path}' has no threshold: it was never validated\. Train it"):
        load_inferencer(path)


def test_export_whose_record_has_no_threshold(save: Callable[..., Path], model: ReverseDistillation) -> None:
    path = save()
    record = replace(model.describe(), steps=3).plain()
    write_record(record_file(path), {**record, "export": {"threshold": None, "files": hash_export(path)}})
    with pytest.raises(ValueError, match="has no threshold: it was never validated"):
        load_inferencer(path)


@pytest.mark.parametrize(
    "post_processor", [False, DistillationPostProcessor(enable_thresholding=False)], ids=["none", "no thresholds"]
)
def test_checkpoint_without_labels(tmp_path: Path, post_processor: DistillationPostProcessor | bool) -> None:
    path = tmp_path / "model.ckpt"
    write_checkpoint(ReverseDistillation(**{**SMALL, "post_processor": post_processor}), path, "RD4AD")
    with pytest.raises(ValueError, match=r"has no pred_label; train it with a post-processor"):
        load_inferencer(path)


def test_model_whose_scores_have_no_range(tmp_path: Path) -> None:
    model = with_thresholds(ReverseDistillation(**SMALL))
    model.post_processor.image_max.fill_(float("nan"))
    write_checkpoint(model, tmp_path / "model.ckpt", "RD4AD")
    with pytest.raises(ValueError, match="has no threshold"):
        load_inferencer(tmp_path / "model.ckpt")


class _Counting(DistillationEvaluator):
    """An evaluator with a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))


def test_an_evaluator_of_ones_own_is_not_needed(tmp_path: Path) -> None:
    model = with_thresholds(ReverseDistillation(**{**SMALL, "evaluator": _Counting()}))
    write_checkpoint(model, tmp_path / "model.ckpt", "RD4AD")
    assert load_inferencer(tmp_path / "model.ckpt").threshold == 0.5
