# SPDX-License-Identifier: Apache-2.0
"""Models of ONNX: what they give, and what they cannot do."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rd_plugin.inspection import load_inferencer

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def save(path: Path, sides: tuple[int | str, int | str], *outputs: str) -> Path:
    """Save a model that scores an image by its mean; anomalous is what exceeds 0.5."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["pred_score"], keepdims=0),
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        helper.make_node("Greater", ["pred_score", "half"], ["pred_label"]),
    ]
    kinds = {"pred_score": TensorProto.FLOAT, "pred_label": TensorProto.BOOL}
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *sides])],
        [helper.make_tensor_value_info(name, kinds[name], []) for name in outputs],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_scores_and_size(tmp_path: Path) -> None:
    inferencer = load_inferencer(
        save(tmp_path / "any.onnx", ("height", "width"), "pred_score", "pred_label"), threads=1
    )
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    for pixels in (image, image[:, 1:4], 255 - image // 4):
        found = inferencer.predict(pixels)
        assert found.score == pytest.approx(pixels.mean() / 255, abs=1e-6)
        assert found.anomalous == (pixels.mean() > 127.5)
    assert (inferencer.image_size, inferencer.threshold, found.mask) == (None, 0.5, None)
    assert load_inferencer(save(tmp_path / "one.onnx", (4, 6), "pred_score", "pred_label")).image_size == (4, 6)


def test_model_without_labels(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", (4, 6), "pred_score")
    with pytest.raises(ValueError, match="has no pred_label; train it with a post-processor"):
        load_inferencer(path)


def test_devices(tmp_path: Path) -> None:
    path = save(tmp_path / "model.onnx", (4, 6), "pred_score", "pred_label")
    assert load_inferencer(path, device="CPU").image_size == (4, 6)
    with pytest.raises(ValueError, match=r"device must be 'cpu'.* for model.onnx with this ONNX Runtime, got 'tpu'"):
        load_inferencer(path, device="tpu")
