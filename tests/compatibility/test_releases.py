# SPDX-License-Identifier: Apache-2.0
"""Files of each release predict what they predicted then; ``make_files.py`` has written them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rd_plugin import Inspector
from rd_plugin.models.distillation import Distillation

from .make_files import FILES, MODELS

FOLDERS = sorted(path for release in FILES.iterdir() for path in release.iterdir() if path.name in MODELS)

each_file = pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: f"{path.parent.name}-{path.name}")


def _checkpoint(folder: Path) -> Distillation:
    method, _ = MODELS[folder.name]
    return method.load_from_checkpoint(folder / "model.ckpt")


def _torch_export(folder: Path) -> Distillation:
    return torch.load(folder / "model.pt", weights_only=False)["model"]


@each_file
@pytest.mark.parametrize("load", [_checkpoint, _torch_export], ids=["checkpoint", "torch export"])
def test_predictions(folder: Path, load: Callable[[Path], Distillation]) -> None:
    with np.load(folder / "expected.npz") as file:
        images, *expected = (torch.from_numpy(file[name]) for name in ("images", "pred_score", "anomaly_map"))
    with torch.no_grad():
        predictions = load(folder).eval()(images.permute(0, 3, 1, 2) / 255)
    torch.testing.assert_close([predictions.pred_score, predictions.anomaly_map], expected, rtol=0, atol=1e-4)


@each_file
def test_inspection(folder: Path) -> None:
    with np.load(folder / "expected.npz") as file:
        images, expected = file["images"], file["pred_score"]
    inspector = Inspector(folder / "model.ckpt")
    scores = [inspector.predict(image).score for image in images]
    np.testing.assert_allclose(scores, expected.flatten(), rtol=0, atol=1e-3)
