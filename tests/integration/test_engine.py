# SPDX-License-Identifier: Apache-2.0
"""The models in anomalib's engine, from Python."""

from pathlib import Path

import pytest
import torch
from anomalib.models.components import AnomalibModule

from rd_plugin.models.distillation import Distillation

from .conftest import BACKBONE, SIZE, Method, Trained, cpu_engine, tile_data


def _model(method: Method, **arguments: object) -> Distillation:
    torch.manual_seed(0)
    pre_processor = method.configure_pre_processor((SIZE, SIZE))
    return method(**{"backbone": BACKBONE, "pre_trained": False, "pre_processor": pre_processor, **arguments})


def test_train_returns_metrics(method: Method, tmp_path: Path, mvtec_root: Path) -> None:
    engine = cpu_engine(tmp_path, max_epochs=1)
    (metrics,) = engine.train(model=_model(method), datamodule=tile_data(mvtec_root))
    assert all(0 <= value <= 1 for value in metrics.values())
    assert len(metrics) == 5


def test_training_learns_to_find_defects(trained: Trained, tmp_path: Path, mvtec_root: Path) -> None:
    model = trained.method.load_from_checkpoint(trained.checkpoint, visualizer=False)
    (metrics,) = cpu_engine(tmp_path).test(model=model, datamodule=tile_data(mvtec_root))
    assert metrics["image_AUROC"] >= 0.9
    assert metrics["pixel_AUROC"] >= 0.9


def test_is_an_anomalib_model(method: Method) -> None:
    assert issubclass(method, AnomalibModule)
    assert method not in AnomalibModule.__subclasses__()


@pytest.mark.parametrize("precision", ["bf16-mixed"])
def test_mixed_precision(method: Method, tmp_path: Path, mvtec_root: Path, precision: str) -> None:
    engine = cpu_engine(tmp_path, max_epochs=1, precision=precision)
    (metrics,) = engine.train(model=_model(method, visualizer=False), datamodule=tile_data(mvtec_root))
    assert set(metrics) >= {"image_AUROC", "pixel_AUPRO"}
