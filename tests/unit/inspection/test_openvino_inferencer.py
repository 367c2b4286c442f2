# SPDX-License-Identifier: Apache-2.0
"""Models of OpenVINO's: what they give, in which precision, and what they cannot do."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from rd_plugin.inspection import load_inferencer


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
    assert (len(inferencer.record_id), inferencer.threshold, inferencer.image_size) == (12, 0.5, None)
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
    load_inferencer(path, precision="float16")
    load_inferencer(path, device="AUTO")
    assert asked == ["f32", "bf16", "f16", "f32"]


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
