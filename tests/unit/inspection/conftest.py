# SPDX-License-Identifier: Apache-2.0
"""A small model of OpenVINO's."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops


def save_model(folder: Path, name: str = "model", height: int = -1) -> Path:
    """Save a model that scores an image by its mean, and has no result for images of another height than 4."""
    images = ops.parameter([1, 3, height, -1 if height < 0 else height], np.float32, name="images")
    (level,) = ops.reduce_mean(images, [1], keep_dims=True).outputs()
    score = ops.reduce_mean(level, [1, 2, 3])
    # A fixed number of rows, which other images do not have.
    of_four = ops.add(level, ops.constant(np.zeros((1, 1, 4, 1), np.float32)))
    results = {
        "pred_score": score,
        "pred_label": ops.greater(score, np.float32(0.5)),
        "anomaly_map": of_four,
        "pred_mask": ops.greater(of_four, np.float32(0.5)),
    }
    outputs = []
    for output, node in results.items():
        node.output(0).get_tensor().set_names({output})
        outputs.append(ops.result(node))
    ov.save_model(ov.Model(outputs, [images], "NAME"), folder / f"{name}.xml", compress_to_fp16=False)
    return folder / f"{name}.xml"


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Save such a model in the test's folder."""
    return partial(save_model, tmp_path)
