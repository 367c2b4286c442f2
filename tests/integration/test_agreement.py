# SPDX-License-Identifier: Apache-2.0
"""Exports inspect image files as the engine does, whatever the files' size."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest
import torch
from anomalib.data.utils import read_image
from anomalib.deploy import CompressionType, ExportType, OpenVINOInferencer, TorchInferencer
from anomalib.engine import Engine
from PIL import Image
from torchvision.transforms.v2.functional import resize

from rd_plugin import FusedReverseDistillation
from rd_plugin.models.distillation import Distillation

from .conftest import BACKBONE, LAYERS, METHODS, WEIGHTS, Method, cpu_engine, run_openvino, tile_data

# Height and width. Not square, so that none can be taken for the other.
MODEL = (48, 64)
# Half, once, twice and four times that.
SIZES = ((23, 34), MODEL, (101, 120), (190, 260))


class Verdict(NamedTuple):
    """What is said of one image."""

    score: float
    label: bool
    map: np.ndarray


def _verdict(prediction: Any) -> Verdict:
    score, label, anomaly_map = (
        np.asarray(value) for value in (prediction.pred_score, prediction.pred_label, prediction.anomaly_map)
    )
    return Verdict(score.item(), bool(label.item()), anomaly_map.reshape(MODEL))


def _run_torch(model: Path, files: list[Path]) -> list[Verdict]:
    inferencer = TorchInferencer(model, device="cpu")
    with torch.inference_mode():
        return [_verdict(inferencer.predict(file)) for file in files]


def _run_onnx(model: Path, files: list[Path]) -> list[Verdict]:
    session = onnxruntime.InferenceSession(model)
    names = [output.name for output in session.get_outputs()]
    images = [read_image(file, as_tensor=True)[None].numpy() for file in files]
    return [_verdict(SimpleNamespace(**dict(zip(names, session.run(None, {"input": i}), strict=True)))) for i in images]


def _run_openvino(model: Path, files: list[Path]) -> list[Verdict]:
    # By default OpenVINO computes in bfloat16 where a processor can.
    inferencer = OpenVINOInferencer(model, device="CPU", config={"INFERENCE_PRECISION_HINT": "f32"})
    return [_verdict(inferencer.predict(file)) for file in files]


Run = Callable[[Path, list[Path]], list[Verdict]]
RUNTIMES: list[tuple[ExportType, Run]] = [
    (ExportType.TORCH, _run_torch),
    (ExportType.ONNX, _run_onnx),
    # OpenVINO reads ONNX, too, where it leaves out antialiasing that it finds there.
    (ExportType.ONNX, _run_openvino),
    (ExportType.OPENVINO, _run_openvino),
]


def _check(actual: list[Verdict], expected: list[Verdict]) -> None:
    for ours, engine in zip(actual, expected, strict=True):
        assert ours.score == pytest.approx(engine.score, abs=1e-3)
        np.testing.assert_allclose(ours.map, engine.map, rtol=0, atol=5e-3)
        # The threshold of normalized scores.
        assert ours.label == engine.label or abs(engine.score - 0.5) <= 1e-3


@pytest.fixture(scope="module")
def files(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], list[Path]]:
    """Good and defective images of each size, with detail down to the pixel."""
    folder = tmp_path_factory.mktemp("files")
    written: dict[tuple[int, int], list[Path]] = {}
    for height, width in SIZES:
        for index, file in enumerate(files[::3]):
            path = folder / f"{height}x{width}" / f"{index}.png"
            path.parent.mkdir(exist_ok=True)
            repeated = np.tile(read_image(file, as_tensor=False), (3, 3, 1))[:height, :width]
            Image.fromarray(np.round(255 * repeated).astype(np.uint8)).save(path)
            written.setdefault((height, width), []).append(path)
    return written


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            (method, deviation), marks=pytest.mark.slow if method != METHODS[0] or deviation != "cosine" else []
        )
        for method in METHODS
        for deviation in ("cosine", "mahalanobis")
        # The fused model's evidence has a distance of its own.
        if (method, deviation) != (FusedReverseDistillation, "mahalanobis")
    ],
    ids=lambda parameters: f"{parameters[0].__name__}-{parameters[1]}",
)
def model(request: pytest.FixtureRequest, mvtec_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Distillation:
    """A trained model of each method with each deviation."""
    method: Method
    method, deviation = request.param
    model = method(
        BACKBONE,
        layers=LAYERS,
        pre_trained=WEIGHTS,
        deviation=deviation,
        pre_processor=method.configure_pre_processor(MODEL),
        visualizer=False,
    )
    cpu_engine(tmp_path_factory.mktemp("trained"), max_epochs=3).fit(model, datamodule=tile_data(mvtec_root))
    return model


@pytest.fixture(scope="module")
def expected(
    model: Distillation, files: dict[tuple[int, int], list[Path]], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[int, int], list[Verdict]]:
    """The engine's verdicts on each size, with a range and a threshold that cut none of their scores off."""
    engine = cpu_engine(tmp_path_factory.mktemp("engine"), logger=False)

    def predict() -> dict[tuple[int, int], list[Verdict]]:
        folders = {size: paths[0].parent for size, paths in files.items()}
        return {
            size: [_verdict(batch) for batch in engine.predict(model, data_path=folder)]
            for size, folder in folders.items()
        }

    model.post_processor.enable_normalization = False
    verdicts = [verdict for group in predict().values() for verdict in group]
    model.post_processor.enable_normalization = True
    for name, values in (
        ("image", [verdict.score for verdict in verdicts]),
        ("pixel", [verdict.map for verdict in verdicts]),
    ):
        low, high = np.min(values), np.max(values)
        getattr(model.post_processor, f"{name}_min").fill_(low)
        getattr(model.post_processor, f"{name}_max").fill_(high)
        getattr(model.post_processor, f"_{name}_threshold").fill_((low + high) / 2)
    return predict()


@pytest.fixture(scope="module")
def export(model: Distillation, expected: object, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Export the model, once for each set of arguments, when its range and thresholds are set."""
    del expected
    folder = tmp_path_factory.mktemp("exports")
    engine = Engine(default_root_dir=folder)

    @cache
    def once(**arguments: Any) -> Path:
        return engine.export(model, export_root=folder / str(once.cache_info().currsize), **arguments)

    return once


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    monkeypatch.chdir(tmp_path)  # OpenVINO's inferencer leaves a cache where it runs


@pytest.mark.parametrize(
    ("kind", "run"), [*(pytest.param(*runtime, marks=pytest.mark.slow) for runtime in RUNTIMES[:-1]), RUNTIMES[-1]]
)
def test_exports_predict_as_the_engine(
    kind: ExportType,
    run: Run,
    export: Callable[..., Path],
    files: dict[tuple[int, int], list[Path]],
    expected: dict[tuple[int, int], list[Verdict]],
) -> None:
    verdicts = [verdict for group in expected.values() for verdict in group]
    assert len({verdict.label for verdict in verdicts}) == 2
    assert np.std([verdict.score for verdict in verdicts]) > 0.1
    path = export(export_type=kind)
    for size, images in files.items():
        _check(run(path, images), expected[size])


@pytest.mark.slow
def test_exports_of_one_size_predict_as_the_engine(
    export: Callable[..., Path],
    files: dict[tuple[int, int], list[Path]],
    expected: dict[tuple[int, int], list[Verdict]],
) -> None:
    for size in (SIZES[0], SIZES[-1]):
        for kind, run in ((ExportType.ONNX, _run_onnx), (ExportType.OPENVINO, _run_openvino)):
            _check(run(export(export_type=kind, input_size=size), files[size]), expected[size])


@pytest.mark.slow
def test_int8_exports_resize_as_the_engine(
    export: Callable[..., Path], files: dict[tuple[int, int], list[Path]], mvtec_root: Path
) -> None:
    """What int8 costs the networks is another matter: images that are resized beforehand pay it, too."""
    data = tile_data(mvtec_root)
    path = export(export_type=ExportType.OPENVINO, compression_type=CompressionType.INT8_PTQ, datamodule=data)
    for images in files.values():
        for file, actual in zip(images, _run_openvino(path, images), strict=True):
            resized = resize(read_image(file, as_tensor=True), list(MODEL), antialias=True)[None]
            expected = run_openvino(path, resized.numpy())
            # Roundings of the resize decide a rounding to 8 bits here and there.
            assert actual.score == pytest.approx(expected["pred_score"].item(), abs=0.02)
            assert np.abs(actual.map - expected["anomaly_map"].reshape(MODEL)).mean() < 0.01
