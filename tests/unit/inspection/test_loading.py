# SPDX-License-Identifier: Apache-2.0
"""What runs a model, and models that cannot be used."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from openvino import opset13 as ops

from rd_plugin import ReverseDistillation
from rd_plugin.convert.files import write_checkpoint
from rd_plugin.inspection import load_inferencer
from rd_plugin.provenance import RECORD_KEY, Provenance, hash_export, is_untrained, record_file, write_record
from rd_plugin.storage import read_plain


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Save a model that scores an image by its mean, and has no result for images of another height than 4."""

    def build(name: str = "model", height: int = -1) -> Path:
        images = ops.parameter([1, 3, height, -1 if height < 0 else height], np.float32, name="images")
        (level,) = ops.reduce_mean(images, [1], keep_dims=True).outputs()
        score = ops.reduce_mean(level, [1, 2, 3])
        # A fixed number of rows, which other images do not have.
        of_four = ops.add(level, ops.constant(np.zeros((1, 1, 4, 1), np.float32)))
        results = {
            "pred_score": score,
            "pred_label": ops.greater(score, np.float32(0.5)),
            "anomaly_map": of_four,
            "pred_mask": ops.greater(of_four, np.float32(0.5)),
        }
        outputs = []
        for output, node in results.items():
            node.output(0).get_tensor().set_names({output})
            outputs.append(ops.result(node))
        ov.save_model(ov.Model(outputs, [images], "NAME"), tmp_path / f"{name}.xml", compress_to_fp16=False)
        return tmp_path / f"{name}.xml"

    return build


def test_openvino_model(save: Callable[..., Path]) -> None:
    inferencer = load_inferencer(save(), threads=1)
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    found = inferencer.predict(image)
    levels = image.astype(np.float32).mean(-1) / 255
    assert found.score == pytest.approx(levels.mean(), abs=1e-6)
    assert found.anomalous == (levels.mean() > 0.5)
    assert found.anomaly_map is not None
    assert found.mask is not None
    np.testing.assert_allclose(found.anomaly_map, levels, atol=1e-6)
    np.testing.assert_array_equal(found.mask, levels > 0.5)
    assert (inferencer.record_id, inferencer.threshold, inferencer.image_size) == ("", 0.5, None)
    assert found.milliseconds >= 0
    # A part of an image, whose rows do not lie one behind the other.
    assert inferencer.predict(image[:, 1:4]).score == pytest.approx(levels[:, 1:4].mean(), abs=1e-6)


def test_precision_is_asked_of_openvino(save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    compile_model = ov.Core.compile_model

    def ask(core: ov.Core, model: ov.Model, device: str, hints: dict[str, str]) -> ov.CompiledModel:
        asked.append(hints["INFERENCE_PRECISION_HINT"])
        return compile_model(core, model, device, hints)

    monkeypatch.setattr(ov.Core, "compile_model", ask)
    path = save()
    load_inferencer(path)
    load_inferencer(path, precision="bfloat16")
    assert asked == ["f32", "bf16"]


def test_precision_of_others_is_float32(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.touch()
    with pytest.raises(
        ValueError, match=r"^precision must be 'float32', or 'bfloat16' for .*got 'bfloat16' for model.onnx\.$"
    ):
        load_inferencer(path, precision="bfloat16")


def test_a_model_of_one_size(save: Callable[..., Path]) -> None:
    assert load_inferencer(save(height=4)).image_size == (4, 4)


def test_external_entities_are_not_read(save: Callable[..., Path], tmp_path: Path) -> None:
    """An OpenVINO model is XML, which may ask for other files to be put into it."""
    (tmp_path / "secret.txt").write_text("stolen")
    path = save()
    text = path.read_text()
    entity = f'<!DOCTYPE net [<!ENTITY secret SYSTEM "{(tmp_path / "secret.txt").as_uri()}">]>'
    for place in ('name="NAME"', 'name="images"'):
        assert place in text
        text = text.replace(place, 'name="&secret;"')
    head, _, body = text.partition("?>")
    path.write_text(f"{head}?>{entity}{body}")
    model = ov.Core().read_model(path)
    assert "stolen" not in model.friendly_name + model.input(0).get_node().friendly_name
    # A pipe that was opened would hold the reader up: nobody writes to it.
    (tmp_path / "secret.txt").unlink()
    os.mkfifo(tmp_path / "secret.txt")
    assert load_inferencer(path).predict(np.full((4, 5, 3), 51, np.uint8)).score == pytest.approx(0.2, abs=1e-6)


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
        ("foreign.ckpt", "is no checkpoint of one of the package's models"),
        ("text.ckpt", "was refused"),
        ("export.pt", "can run code when it is loaded.* set TRUST_REMOTE_CODE=1"),
    ):
        with pytest.raises((FileNotFoundError, ValueError), match=expected):
            load_inferencer(tmp_path / name)
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    with pytest.raises(ValueError, match=r"is no torch export that can be read \(KeyError"):
        load_inferencer(tmp_path / "export.pt")


@pytest.fixture(scope="module")
def model() -> ReverseDistillation:
    """One that was never trained."""
    return ReverseDistillation("resnet18", pre_trained=False)


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
    assert (inferencer.record_id, inferencer.threshold) == ("", 0.5)
    assert "is the record of another export than model.xml" in caplog.text


@pytest.mark.parametrize("name", ["model.xml", "model.onnx", "model.pt"])
def test_exports_of_a_model_that_was_never_trained(tmp_path: Path, model: ReverseDistillation, name: str) -> None:
    (tmp_path / name).touch()
    write_record(record_file(tmp_path / name), model.describe().plain())
    with pytest.raises(ValueError, match=r"has not been trained \(0 steps in model.json\)"):
        load_inferencer(tmp_path / name)


def test_checkpoints_of_no_steps_but_for_converted_ones(tmp_path: Path, model: ReverseDistillation) -> None:
    path = tmp_path / "model.ckpt"
    write_checkpoint(model, path, "RD4AD")
    assert load_inferencer(path).record_id == Provenance(**read_plain(path)[RECORD_KEY]).id
    content = read_plain(path)
    content[RECORD_KEY]["converted_from"] = None
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"has not been trained \(0 steps in its record\)"):
        load_inferencer(path)
    # Earlier versions did not say what was converted.
    del content[RECORD_KEY]["converted_from"]
    assert not is_untrained(content[RECORD_KEY])
