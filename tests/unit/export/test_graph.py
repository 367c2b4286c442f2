# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from rd_plugin.export import decide_branches


def saved(model: openvino.Model, folder: Path) -> Path:
    path = folder / "model.xml"
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


def outputs(path: Path, images: np.ndarray) -> list[np.ndarray]:
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return list(compiled(images).to_dict().values())


@pytest.mark.parametrize("condition", [True, False])
def test_branches_that_are_never_taken_are_left_out(condition: bool, tmp_path: Path) -> None:
    images = ops.parameter([-1, 3], np.float32)
    branches = [ops.multiply(images, np.float32(2)), ops.add(images, np.float32(1))]
    path = saved(openvino.Model([ops.select(np.array(condition), *branches)], [images]), tmp_path)
    batch = np.ones((2, 3), np.float32) * 5
    decide_branches(path)
    kinds = {operation.get_type_name() for operation in openvino.Core().read_model(path).get_ops()}
    assert kinds == {"Parameter", "Constant", "Multiply" if condition else "Add", "Result"}
    np.testing.assert_array_equal(outputs(path, batch)[0], batch * 2 if condition else batch + 1)


def test_branches_that_a_selection_widens_are_kept(tmp_path: Path) -> None:
    images = ops.parameter([2, 3], np.float32)
    selected = ops.select(np.ones((), bool), np.float32(7), images)
    path = saved(openvino.Model([selected], [images]), tmp_path)
    decide_branches(path)
    np.testing.assert_array_equal(outputs(path, np.zeros((2, 3), np.float32))[0], np.full((2, 3), 7, np.float32))
