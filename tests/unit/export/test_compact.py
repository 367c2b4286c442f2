# SPDX-License-Identifier: Apache-2.0
from itertools import starmap
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from openvino import opset13 as ops
from torch import Tensor, nn

from rd_plugin.export import compact
from rd_plugin.models.components import AnomalyMapGenerator

SIZE = (48, 64)


class Maps(nn.Module):
    """A generator as a graph with one input: all scales are pooled from the same deviations."""

    def __init__(self, generator: AnomalyMapGenerator, grids: list[tuple[int, int]], size: tuple[int, int]) -> None:
        super().__init__()
        self.generator, self.size = generator, size
        self.pools = nn.ModuleList(starmap(nn.AdaptiveAvgPool2d, [[grid] for grid in grids]))

    def forward(self, deviations: Tensor) -> Tensor:
        return self.generator([pool(deviations)[:, 0] for pool in self.pools], self.size)


def saved(model: openvino.Model, folder: Path, compress: bool = False) -> Path:
    path = folder / "model.xml"
    openvino.save_model(model, path, compress_to_fp16=compress)
    return path


def exported(maps: Maps, folder: Path, compress: bool = False) -> Path:
    batch = torch.export.Dim("batch")
    program = torch.export.export(maps.eval(), (torch.rand(2, 1, 16, 16),), dynamic_shapes=[{0: batch}])
    return saved(openvino.convert_model(program), folder, compress)


def outputs(path: Path, images: np.ndarray) -> list[np.ndarray]:
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return list(compiled(images).to_dict().values())


def largest_constant(path: Path) -> int:
    operations = openvino.Core().read_model(path).get_ops()
    return max(operation.get_byte_size() for operation in operations if operation.get_type_name() == "Constant")


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    ("mode", "sigma", "border", "grids", "size"),
    [
        ("add", 4.0, "symmetric", [(16, 16), (8, 8), (4, 4)], (64, 64)),
        ("add", 4.0, "reflect", [(12, 16), (6, 8)], SIZE),
        ("add", 0.0, "symmetric", [(12, 16), (6, 8)], SIZE),
        ("add", 4.0, "symmetric", [(12, 16)], SIZE),
        ("multiply", 4.0, "reflect", [(12, 16), (6, 8)], SIZE),
    ],
)
def test_matrices_become_formulas(
    mode: str,
    sigma: float,
    border: str,
    grids: list[tuple[int, int]],
    size: tuple[int, int],
    compress: bool,
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    maps, deviations = Maps(AnomalyMapGenerator(mode, sigma, border), grids, size), torch.rand(3, 1, 16, 16)
    path = exported(maps, tmp_path, compress)
    # In half precision a number takes two bytes.
    number = 2 if compress else 4
    assert largest_constant(path) >= number * size[1] * grids[0][1]
    compact(path, maps.generator)
    # What is left are the pixels, with 16 more on each side for the blur.
    assert largest_constant(path) <= 4 * (size[1] + 32)
    np.testing.assert_allclose(outputs(path, deviations.numpy())[0], maps(deviations).numpy(), rtol=0, atol=2e-6)


def test_matrices_of_another_blur_are_left_alone(tmp_path: Path) -> None:
    maps, deviations = Maps(AnomalyMapGenerator(sigma=4.0), [(8, 8)], (32, 32)), torch.rand(1, 1, 16, 16).numpy()
    path = exported(maps, tmp_path)
    before = outputs(path, deviations)[0]
    compact(path, AnomalyMapGenerator(sigma=3.0))
    np.testing.assert_array_equal(outputs(path, deviations)[0], before)
    assert largest_constant(path) == 4 * 32 * 8


@pytest.mark.parametrize("condition", [True, False])
def test_branches_that_are_never_taken_are_left_out(condition: bool, tmp_path: Path) -> None:
    images = ops.parameter([-1, 3], np.float32)
    branches = [ops.multiply(images, np.float32(2)), ops.add(images, np.float32(1))]
    path = saved(openvino.Model([ops.select(np.array(condition), *branches)], [images]), tmp_path)
    batch = np.ones((2, 3), np.float32) * 5
    compact(path, AnomalyMapGenerator())
    kinds = {operation.get_type_name() for operation in openvino.Core().read_model(path).get_ops()}
    assert kinds == {"Parameter", "Constant", "Multiply" if condition else "Add", "Result"}
    np.testing.assert_array_equal(outputs(path, batch)[0], batch * 2 if condition else batch + 1)


def test_branches_that_a_selection_widens_are_kept(tmp_path: Path) -> None:
    images = ops.parameter([2, 3], np.float32)
    selected = ops.select(np.ones((), bool), np.float32(7), images)
    path = saved(openvino.Model([selected], [images]), tmp_path)
    compact(path, AnomalyMapGenerator())
    np.testing.assert_array_equal(outputs(path, np.zeros((2, 3), np.float32))[0], np.full((2, 3), 7, np.float32))


@pytest.mark.parametrize("shape", [[4, 5], [-1, 4, 5], [2, 3, 4, 5]])
def test_other_products_are_left_alone(shape: list[int], tmp_path: Path) -> None:
    images = ops.parameter(shape, np.float32)
    factors = np.arange(30, dtype=np.float32).reshape(6, 5), np.arange(42, dtype=np.float32).reshape(7, 6)
    product = images
    for factor in factors:
        product = ops.matmul(product, ops.constant(factor), transpose_a=False, transpose_b=True)
    path = saved(openvino.Model([product], [images]), tmp_path)
    compact(path, AnomalyMapGenerator())
    batch = np.ones([abs(side) for side in shape], np.float32)
    np.testing.assert_allclose(outputs(path, batch)[0], batch @ factors[0].T @ factors[1].T, rtol=1e-6)
    kinds = [operation.get_type_name() for operation in openvino.Core().read_model(path).get_ops()]
    assert sorted(kinds) == ["Constant", "Constant", "MatMul", "MatMul", "Parameter", "Result"]
