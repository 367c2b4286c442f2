# SPDX-License-Identifier: Apache-2.0
"""Files of before (1c7e97d, version 0.1; of the fused model 62b6b61) still say the same.

A tiny teacher, two steps, 32 x 32 pixels.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.deploy import OpenVINOInferencer

from rd_plugin import ExpertReverseDistillation, FusedReverseDistillation, Inspector, ReverseDistillation
from rd_plugin.models.distillation import Distillation

FILES = Path(__file__).parent / "files"
IMAGE = torch.linspace(0, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
OLDEST = {"reverse_distillation": ReverseDistillation, "expert_reverse_distillation": ExpertReverseDistillation}
METHODS = {**OLDEST, "fused_reverse_distillation": FusedReverseDistillation}


def _check(model: Distillation, folder: Path) -> None:
    with torch.no_grad():
        predictions = model.eval()(IMAGE)
    with np.load(folder / "expected.npz") as expected:
        for name in expected:
            actual = getattr(predictions, name).numpy()
            np.testing.assert_allclose(actual, expected[name], rtol=0, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("method", METHODS)
def test_checkpoint(method: str) -> None:
    model = METHODS[method].load_from_checkpoint(FILES / method / "model.ckpt")
    _check(model, FILES / method)
    assert model.describe().steps == 2


@pytest.mark.parametrize("method", OLDEST)
def test_torch_export(method: str) -> None:
    for name in [name for name in sys.modules if name.startswith("rd_plugin.models.components")]:
        del sys.modules[name]
    with pytest.warns(DeprecationWarning, match=r"rd_plugin\.components since version 0\.2"):
        content = torch.load(FILES / method / "model.pt", weights_only=False)
    assert isinstance(content["model"], METHODS[method])
    _check(content["model"], FILES / method)


def test_torch_export_of_before_there_were_regions() -> None:
    folder = FILES / "fused_reverse_distillation"
    _check(torch.load(folder / "model.pt", weights_only=False)["model"], folder)


def test_openvino_export() -> None:
    folder = FILES / "reverse_distillation"
    inferencer = OpenVINOInferencer(folder / "model.xml", device="CPU", config={"INFERENCE_PRECISION_HINT": "f32"})
    prediction = inferencer.predict(IMAGE[0].permute(1, 2, 0).numpy())
    with np.load(folder / "expected.npz") as expected:
        np.testing.assert_allclose(prediction.pred_score.item(), expected["pred_score"].item(), rtol=0, atol=1e-3)


def test_models_without_a_reference_predict_and_say_nothing_of_drift() -> None:
    folder = FILES / "reverse_distillation"
    frame = np.round(255 * IMAGE[0].permute(1, 2, 0).numpy()).astype(np.uint8)
    for name in ("model.ckpt", "model.xml"):
        inspector = Inspector(folder / name)
        assert inspector.drift is None
        assert inspector.predict(frame).drift == ""
