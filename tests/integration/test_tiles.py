# SPDX-License-Identifier: Apache-2.0
"""Tiles are part of the model: trained with, recorded, restored and exported."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from anomalib.deploy import ExportType

from rd_plugin.components import Tiles

from .conftest import BACKBONE, LAYERS, METHODS, WEIGHTS, Method, cpu_engine, tile_data
from .test_agreement import MODEL, Run, _check, _run_onnx, _run_openvino, _run_torch, _verdict

# Tiles that do not end with the image, and overlap in one direction.
TILES = {"tile_size": (32, 40), "tile_overlap": (8, 0)}


RUNTIMES = ((ExportType.TORCH, _run_torch), (ExportType.ONNX, _run_onnx), (ExportType.OPENVINO, _run_openvino))


@pytest.mark.parametrize(
    ("method", "deviation", "runtimes"),
    [
        (METHODS[0], "mahalanobis", RUNTIMES[-1:]),
        pytest.param(METHODS[0], "mahalanobis", RUNTIMES[:-1], marks=pytest.mark.slow),
        pytest.param(METHODS[1], "cosine", RUNTIMES, marks=pytest.mark.slow),
        pytest.param(METHODS[2], "cosine", RUNTIMES, marks=pytest.mark.slow),
    ],
)
def test_exports_predict_as_the_engine(
    method: Method,
    deviation: str,
    runtimes: tuple[tuple[ExportType, Run], ...],
    mvtec_root: Path,
    files: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = cpu_engine(tmp_path, max_epochs=2)
    teacher = {"backbone": BACKBONE, "layers": LAYERS[:1], "pre_trained": WEIGHTS}
    trained = method(**teacher, image_size=MODEL, visualizer=False, deviation=deviation, **TILES)
    engine.fit(trained, datamodule=tile_data(mvtec_root))
    model = method.load_from_checkpoint(engine.best_model_path)
    assert model.model.tiler == Tiles((32, 40), (8, 0))
    assert model.describe().plain()["arguments"]["tile_size"] == [32, 40]
    engine = cpu_engine(tmp_path, logger=False)
    images = tmp_path / "images"
    images.mkdir()
    inspected = [Path(shutil.copy(file, images / f"{index:02}.png")) for index, file in enumerate(files[::3])]
    expected = [_verdict(batch) for batch in engine.predict(model, data_path=images)]
    assert np.std([verdict.score for verdict in expected]) > 0.01
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    monkeypatch.chdir(tmp_path)  # OpenVINO's inferencer leaves a cache where it runs
    for kind, run in runtimes:
        path = engine.export(model, kind, export_root=tmp_path)
        _check(run(path, inspected), expected)
