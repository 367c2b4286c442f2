# SPDX-License-Identifier: Apache-2.0
"""Exports agree with the eager models, on images."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from anomalib.data import InferenceBatch
from anomalib.deploy import CompressionType, ExportType, TorchInferencer

from rd_plugin import ExpertReverseDistillation, MVTec, ReverseDistillation, RevisitedReverseDistillation
from rd_plugin.models.distillation import Distillation

from .conftest import SIZE, Method, Trained, auroc, export, one_method, run_openvino

FIELDS = InferenceBatch._fields


@pytest.fixture(scope="module")
def model(trained: Trained) -> Distillation:
    return trained.method.load_from_checkpoint(trained.checkpoint).eval()


@pytest.fixture(scope="module")
def expected(model: Distillation, images: torch.Tensor) -> dict[str, np.ndarray]:
    with torch.inference_mode():
        return {name: value.numpy() for name, value in model(images)._asdict().items()}


def _run_onnx(path: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: images}), strict=True))


def _assert_agrees(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(actual) == set(FIELDS)
    np.testing.assert_allclose(actual["anomaly_map"], expected["anomaly_map"], rtol=0, atol=1e-3)
    np.testing.assert_allclose(actual["pred_score"], expected["pred_score"], rtol=0, atol=1e-4)
    # A score on the threshold, as one of the validation images has, may fall on either side of it by rounding.
    decided = np.abs(expected["pred_score"] - 0.5) > 1e-4
    np.testing.assert_array_equal(actual["pred_label"][decided], expected["pred_label"][decided])


def _assert_spoiled_are_withheld(
    run: Callable[[np.ndarray], dict[str, np.ndarray]],
    images: np.ndarray,
    whole: dict[str, np.ndarray],
) -> None:
    """Spoil some images of a batch by one value each: they get no score, never "normal", and the others keep theirs."""
    spoiled = images[:6].copy()
    for index, value in ((0, np.nan), (1, np.inf), (3, -np.inf), (4, 1.1), (5, -0.1)):
        spoiled[index, 1, 20, 30] = value
    actual = run(spoiled)
    for name in FIELDS:
        np.testing.assert_allclose(actual[name][2], whole[name][2], rtol=0, atol=1e-5)
    bad = [0, 1, 3, 4, 5]
    assert np.isnan(actual["pred_score"][bad]).all()
    assert np.isnan(actual["anomaly_map"][bad]).all()
    assert actual["pred_label"][bad].all()
    assert actual["pred_mask"][bad].all()


@pytest.mark.parametrize(
    ("kind", "run"),
    [pytest.param(ExportType.ONNX, _run_onnx, marks=pytest.mark.slow), (ExportType.OPENVINO, run_openvino)],
)
@pytest.mark.parametrize(
    ("method", "input_size"),
    [
        (ReverseDistillation, None),
        pytest.param(ReverseDistillation, (96, 96), marks=pytest.mark.slow),
        pytest.param(ExpertReverseDistillation, None, marks=pytest.mark.slow),
        pytest.param(RevisitedReverseDistillation, None, marks=pytest.mark.slow),
    ],
    indirect=["method"],
)
def test_graphs_agree_with_eager(
    model: Distillation,
    images: torch.Tensor,
    expected: dict[str, np.ndarray],
    tmp_path: Path,
    kind: ExportType,
    run: Callable[[Path, np.ndarray], dict[str, np.ndarray]],
    input_size: tuple[int, int] | None,
    exported: Path,
) -> None:
    made = kind is ExportType.OPENVINO and input_size is None
    path = exported if made else export(model, tmp_path, kind, input_size=input_size)
    whole = run(path, images.numpy())
    _assert_agrees(whole, expected)
    single = {name: value[:1] for name, value in expected.items()}
    _assert_agrees(run(path, images[:1].numpy()), single)
    _assert_spoiled_are_withheld(partial(run, path), images.numpy(), whole)


def test_torch_export_agrees_with_eager(
    model: Distillation,
    images: torch.Tensor,
    expected: dict[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    path = export(model, tmp_path, ExportType.TORCH)
    batch = TorchInferencer(path=path, device="cpu").predict(images)
    actual = {name: getattr(batch, name).detach().numpy().reshape(expected[name].shape) for name in FIELDS}
    _assert_agrees(actual, expected)
    spoiled = images[:2].clone()
    spoiled[0, 1, 20, 30] = torch.nan
    predictions = TorchInferencer(path=path, device="cpu").predict(spoiled)
    assert predictions.pred_score.isnan().flatten().tolist() == [True, False]
    assert predictions.pred_label[0]


@pytest.mark.parametrize(
    ("method", "compression"),
    [
        # These two are anomalib's own work, the others the package's.
        pytest.param(ReverseDistillation, CompressionType.FP16, marks=pytest.mark.slow),
        pytest.param(ReverseDistillation, CompressionType.INT8, marks=pytest.mark.slow),
        pytest.param(ReverseDistillation, CompressionType.INT8_PTQ, marks=pytest.mark.slow),
        pytest.param(ExpertReverseDistillation, CompressionType.INT8_PTQ, marks=pytest.mark.slow),
        pytest.param(RevisitedReverseDistillation, CompressionType.INT8_PTQ, marks=pytest.mark.slow),
        pytest.param(ReverseDistillation, CompressionType.INT8_ACQ, marks=pytest.mark.slow),
    ],
    indirect=["method"],
)
def test_compressed_models_keep_the_order_of_scores(
    model: Distillation,
    exported: Path,
    images: torch.Tensor,
    expected: dict[str, np.ndarray],
    files: list[Path],
    mvtec_root: Path,
    tmp_path: Path,
    compression: CompressionType,
) -> None:
    data = MVTec(mvtec_root, "tile", num_workers=0)
    path = export(model, tmp_path, compression_type=compression, datamodule=data)
    assert path.with_suffix(".bin").stat().st_size < 0.6 * exported.with_suffix(".bin").stat().st_size
    actual = run_openvino(path, images.numpy())
    assert auroc(actual["pred_score"], files) == pytest.approx(auroc(expected["pred_score"], files), abs=0.05)
    assert np.abs(actual["anomaly_map"] - expected["anomaly_map"]).mean() < 0.05
    _assert_spoiled_are_withheld(partial(run_openvino, path), images.numpy(), actual)


@one_method
@pytest.mark.slow
def test_int8_ptq_of_another_size_than_the_images(model: Distillation, mvtec_root: Path, tmp_path: Path) -> None:
    int8 = {"compression_type": CompressionType.INT8_PTQ, "datamodule": MVTec(mvtec_root, "tile", num_workers=0)}
    path = export(model, tmp_path, input_size=(80, 72), **int8)
    assert run_openvino(path, np.zeros((2, 3, 80, 72), dtype=np.float32))["anomaly_map"].shape == (2, 1, SIZE, SIZE)


@pytest.mark.slow
def test_graph_without_a_size_says_what_it_needs(method: Method, tmp_path: Path) -> None:
    model = method("resnet18", pre_trained=False, pre_processor=False)
    with pytest.raises(Exception, match="An exported model needs images of one size: give input_size"):
        export(model, tmp_path, ExportType.ONNX)


@pytest.mark.slow
@one_method
def test_what_runtimes_do_with_images_of_another_kind(exported: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((2, 3, SIZE, SIZE), dtype=np.float32)
    bytes_ = (255 * images).astype(np.uint8)
    of_one_size = openvino.Core().read_model(exported)
    of_one_size.reshape([-1, 3, SIZE, SIZE])
    openvino.save_model(of_one_size, tmp_path / "of_one_size.xml")
    for wrong in (images[:, :1], images[:, [0, 1, 2, 2]], images.transpose(0, 2, 3, 1), images[0]):
        with pytest.raises(RuntimeError, match="shape"):
            run_openvino(exported, wrong)
    with pytest.raises(RuntimeError, match="shape"):
        run_openvino(tmp_path / "of_one_size.xml", images[..., :40])
    # OpenVINO takes other types and converts their values; so bytes are far outside of the range.
    assert np.isnan(run_openvino(exported, bytes_)["pred_score"]).all()
    double = run_openvino(exported, images.astype(np.float64))["pred_score"]
    np.testing.assert_array_equal(double, run_openvino(exported, images)["pred_score"])
