# SPDX-License-Identifier: Apache-2.0
"""What int8 asks of its data; what it computes is in tests/integration/test_export.py."""

from types import SimpleNamespace

import nncf
import numpy as np
import openvino
import pandas as pd
import pytest
import torch

from rd_plugin.export.quantization import quantize, quantize_with_control
from tests.graphs import transformer


def _model() -> openvino.Model:
    images = openvino.opset13.parameter([1, 3, 8, 8])
    return openvino.Model([openvino.opset13.relu(images)], [images])


class _Images(list[SimpleNamespace]):
    """Random images with these labels."""

    def __init__(self, labels: list[int]) -> None:
        super().__init__(SimpleNamespace(image=torch.rand(3, 8, 8)) for _ in labels)
        self.samples = pd.DataFrame({"label_index": labels})


def _data(labels: list[int] | None) -> SimpleNamespace:
    """A data module with three training images, and validation images with these labels, or none."""
    images = None if labels is None else _Images(labels)
    return SimpleNamespace(setup=lambda _stage: None, train_data=_Images([0, 0, 0]), val_data=images)


@pytest.mark.parametrize("max_drop", [-0.1, 1.1])
def test_drop_out_of_range(max_drop: float) -> None:
    with pytest.raises(ValueError, match=rf"max_drop must be in \[0, 1\], got {max_drop}"):
        quantize_with_control(_model(), _data([0, 1]), None, max_drop)


@pytest.mark.parametrize(("labels", "missing"), [([0, 0], "defective"), ([1, 1], "normal"), (None, "defective")])
def test_accuracy_needs_good_and_defective_images(labels: list[int] | None, missing: str) -> None:
    with pytest.raises(ValueError, match=f"the data has no {missing} ones for validation"):
        quantize_with_control(_model(), _data(labels), None, 0.01)


def test_norm_by_an_images_own_statistics_stays_in_floating_point() -> None:
    operations = openvino.opset13
    images = operations.parameter([1, 3, 8, 8])
    weights = np.random.default_rng(0).random((3, 3, 3, 3), dtype=np.float32)
    state = images
    for _ in range(2):
        state = operations.convolution(state, weights, [1, 1], [1, 1], [1, 1], [1, 1])
        state = operations.mvn(state, np.array([2, 3]), normalize_variance=True, eps=1e-5, eps_mode="inside_sqrt")
        state = operations.relu(state)
    quantized = quantize(openvino.Model([state], [images]), _data(None))
    before = {
        node.get_type_name(): [each.get_source_output().get_node().get_type_name() for each in node.inputs()]
        for node in quantized.get_ops()
    }
    assert before["MVN"][0] == "Convolution"
    assert before["Convolution"][0] == "FakeQuantize"


@pytest.mark.parametrize("control", [False, True])
def test_transformer_that_is_slower_in_int8_is_not_quantized(monkeypatch: pytest.MonkeyPatch, control: bool) -> None:
    taken = [10.0, 12.0]
    monkeypatch.setattr("rd_plugin.export.quantization.latencies", lambda *_: taken)
    monkeypatch.setattr(nncf, "quantize_with_accuracy_control", lambda model, **_: model)
    data = _data([0, 1])

    def run() -> openvino.Model:
        return quantize_with_control(transformer(), data, None, 1.0) if control else quantize(transformer(), data)

    with pytest.raises(ValueError, match="12 ms in int8 and 10 ms in float32"):
        run()
    taken.reverse()
    assert run().get_ops()
