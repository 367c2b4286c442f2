# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from anomalib.data import InferenceBatch
from torch import Tensor, nn

from rd_plugin.export.constants import Constants, read_constants, write_constants
from rd_plugin.post_processor import DistillationPostProcessor

OLD, NEW = Constants(1.25, 0.5, 2.5, 4.0), Constants(1.5, 0.25, 2.0, 8.0)
MAPS = torch.linspace(0, 6, 32).reshape(2, 1, 4, 4)


class Labelled(nn.Module):
    """Maps as they are normalized and labelled, with the highest values as scores."""

    def __init__(self, scale: Constants) -> None:
        super().__init__()
        self.processor = DistillationPostProcessor()
        for name in ("image_min", "pixel_min"):
            getattr(self.processor, name).zero_()
        self.processor.set_scale(scale)

    def forward(self, maps: Tensor) -> tuple[Tensor, ...]:
        result = self.processor(InferenceBatch(pred_score=maps.flatten(1).amax(1, keepdim=True), anomaly_map=maps))
        return result.pred_score, result.anomaly_map, result.pred_label, result.pred_mask


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an export of each kind."""
    folder = tmp_path_factory.mktemp("exported")
    labelled = Labelled(OLD).eval()
    with labelled.processor.as_constants():
        shapes = ({0: torch.export.Dim.DYNAMIC},)
        torch.onnx.export(
            labelled,
            (MAPS,),
            folder / "model.onnx",
            dynamo=True,
            opset_version=18,
            verbose=False,
            dynamic_shapes=shapes,
        )
    openvino.save_model(openvino.convert_model(folder / "model.onnx"), folder / "model.xml", compress_to_fp16=False)
    return folder


def _run(path: Path) -> list[np.ndarray]:
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: MAPS.numpy()})
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return list(compiled(MAPS.numpy()).to_dict().values())


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_constants_are_found_and_replaced_in_a_graph(exported: Path, tmp_path: Path, suffix: str) -> None:
    path = exported / f"model{suffix}"
    assert read_constants(path) == OLD
    write_constants(path, tmp_path / f"new{suffix}", NEW)
    assert read_constants(tmp_path / f"new{suffix}") == NEW
    for file, scale in ((path, OLD), (tmp_path / f"new{suffix}", NEW)):
        for found, expected in zip(_run(file), Labelled(scale)(MAPS), strict=True):
            np.testing.assert_allclose(found.astype(float), expected.double(), atol=1e-6)


def test_numbers_are_found_in_half_precision_and_nothing_else_is() -> None:
    assert Constants.of(NEW.packed().astype(np.float16)) == NEW
    assert Constants.of(np.arange(8, dtype=np.float32)) is None
    assert Constants.of(np.arange(8)) is None


def test_graph_without_them_is_refused(tmp_path: Path) -> None:
    images = openvino.opset13.parameter([1, 3], np.float32)
    openvino.save_model(openvino.Model([openvino.opset13.relu(images)], [images]), tmp_path / "model.xml")
    with pytest.raises(ValueError, match="or without a threshold"):
        read_constants(tmp_path / "model.xml")
