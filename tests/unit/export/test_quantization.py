# SPDX-License-Identifier: Apache-2.0
"""What int8 asks of its data; what it computes is in tests/integration/test_export.py."""

from types import SimpleNamespace

import openvino
import pandas as pd
import pytest

from rd_plugin.export.quantization import quantize_with_control


def _model() -> openvino.Model:
    images = openvino.opset13.parameter([1, 3, 8, 8])
    return openvino.Model([openvino.opset13.relu(images)], [images])


def _data(labels: list[int] | None) -> SimpleNamespace:
    """A data module with these validation images, or none."""
    images = None if labels is None else SimpleNamespace(samples=pd.DataFrame({"label_index": labels}))
    return SimpleNamespace(setup=lambda _stage: None, val_data=images)


@pytest.mark.parametrize("max_drop", [-0.1, 1.1])
def test_drop_out_of_range(max_drop: float) -> None:
    with pytest.raises(ValueError, match=rf"max_drop must be in \[0, 1\], got {max_drop}"):
        quantize_with_control(_model(), _data([0, 1]), None, max_drop)


@pytest.mark.parametrize(("labels", "missing"), [([0, 0], "defective"), ([1, 1], "good"), (None, "defective")])
def test_accuracy_needs_good_and_defective_images(labels: list[int] | None, missing: str) -> None:
    with pytest.raises(ValueError, match=f"the data has no {missing} ones for validation"):
        quantize_with_control(_model(), _data(labels), None, 0.01)
