# SPDX-License-Identifier: Apache-2.0
"""A vision transformer as the teacher, from training to exports."""

from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from anomalib.deploy import CompressionType
from anomalib.engine import Engine
from PIL import Image
from scipy.stats import spearmanr

from rd_plugin import (
    ExpertReverseDistillation,
    FusedReverseDistillation,
    MVTec,
    ReverseDistillation,
    RevisitedReverseDistillation,
)
from rd_plugin.export.networks import other_operations
from rd_plugin.inspection import Inspector
from rd_plugin.models.distillation import Distillation

from .conftest import run_openvino

pytestmark = pytest.mark.slow
METHODS = [
    ReverseDistillation,
    FusedReverseDistillation,
    RevisitedReverseDistillation,
    ExpertReverseDistillation,
]
NAMES = ["pred_score", "anomaly_map", "pred_label", "pred_mask"]


@pytest.fixture(scope="module")
def data(mvtec_root: Path) -> MVTec:
    return MVTec(mvtec_root, "tile", train_batch_size=4, eval_batch_size=4, num_workers=0)


@pytest.fixture(scope="module", params=METHODS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, data: MVTec) -> Distillation:
    torch.manual_seed(0)
    model = request.param("test_vit", pre_trained=False, image_size=(64, 96), student_depth=2, visualizer=False)
    engine = Engine(max_steps=3, accelerator="cpu", logger=False, default_root_dir=tmp_path_factory.mktemp("run"))
    engine.fit(model, datamodule=data)
    path = tmp_path_factory.mktemp("weights") / "model.ckpt"
    engine.trainer.save_checkpoint(path)
    return request.param.load_from_checkpoint(path).eval()


@pytest.fixture(scope="module")
def exported(trained: Distillation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained.to_openvino(tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="module")
def session(trained: Distillation, tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(trained.to_onnx(tmp_path_factory.mktemp("export")))


@pytest.mark.parametrize("factor", [0.5, 1, 2, 4])
@torch.no_grad()
def test_openvino_and_onnx_agree_with_the_engine(
    trained: Distillation, exported: Path, session: onnxruntime.InferenceSession, factor: float
) -> None:
    images = torch.rand(2, 3, int(64 * factor), int(96 * factor), generator=torch.Generator().manual_seed(0))
    # It has no score, and is anomalous.
    images[1, 0, 0, 0] = torch.nan
    expected = trained(images)
    assert expected.pred_score.isnan().flatten().tolist() == [False, True]
    onnx = dict(zip(NAMES, session.run(NAMES, {"input": images.numpy()}), strict=True))
    for actual in (run_openvino(exported, images.numpy()), onnx):
        np.testing.assert_allclose(actual["pred_score"].ravel(), expected.pred_score.ravel(), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(actual["anomaly_map"], expected.anomaly_map, rtol=1e-3, atol=1e-4)
        assert actual["pred_label"].ravel()[1]
    # Of any number of images.
    alone = run_openvino(exported, images[:1].numpy())["pred_score"]
    np.testing.assert_allclose(alone.ravel(), expected.pred_score[:1].ravel(), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_torch_export_agrees_with_the_engine(
    trained: Distillation, tmp_path: Path, mvtec_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    image = sorted((mvtec_root / "tile" / "test" / "scratch").iterdir())[0]
    found = [result.score for result in Inspector(trained.to_torch(tmp_path))(image)]
    pixels = torch.from_numpy(np.asarray(Image.open(image).convert("RGB"))).permute(2, 0, 1)[None] / 255
    assert found == pytest.approx([trained(pixels).pred_score.item()], abs=1e-4)


def test_int8_leaves_out_what_is_no_layer_by_name(
    trained: Distillation,
    exported: Path,
    data: MVTec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = openvino.Core().read_model(exported)
    products = {node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() == "MatMul"}
    # Four in each of six blocks, two in the bottleneck, four in each of the student's two blocks.
    assert len(products - set(other_operations(model))) == 6 * 4 + 2 + 2 * 4
    # Whether int8 gains depends on the processor.
    monkeypatch.setattr("rd_plugin.export.quantization.latencies", lambda *_: [2.0, 1.0])
    # Of a dozen training images the range of the scores moves, and most of the map would be cut off at 0.
    monkeypatch.setattr(trained.post_processor, "enable_normalization", False)
    path = trained.to_openvino(tmp_path, compression_type=CompressionType.INT8_PTQ, datamodule=data)
    quantized = openvino.Core().read_model(path)
    kinds = [operation.get_type_name() for operation in quantized.get_ordered_ops()]
    # One for each layer's input, but layers that share it.
    assert kinds.count("FakeQuantize") >= 34
    if not isinstance(trained, FusedReverseDistillation):
        # Of a fused model, the map of an image that its statistics were computed from shows noise alone.
        seen = torch.stack([data.train_data[index].image for index in range(4)])
        with torch.no_grad():
            of_seen = trained(seen).anomaly_map.numpy()
        assert np.corrcoef(run_openvino(path, seen.numpy())["anomaly_map"].ravel(), of_seen.ravel())[0, 1] > 0.9
    images = torch.stack([item.image for item in data.test_data])
    actual = run_openvino(path, images.numpy())
    with torch.no_grad():
        expected = trained(images)
    assert spearmanr(actual["anomaly_map"].ravel(), expected.anomaly_map.ravel())[0] > 0.9
    assert np.corrcoef(actual["pred_score"].ravel(), expected.pred_score.ravel())[0, 1] > 0.9


def test_int8_that_is_slower_leaves_nothing_behind(
    trained: Distillation, data: MVTec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rd_plugin.export.quantization.latencies", lambda *_: [1.0, 2.0])
    with pytest.raises(ValueError, match="2 ms in int8 and 1 ms in float32"):
        trained.to_openvino(tmp_path, compression_type=CompressionType.INT8_PTQ, datamodule=data)
    assert not list(tmp_path.rglob("*"))
