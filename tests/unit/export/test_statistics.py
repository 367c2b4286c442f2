# SPDX-License-Identifier: Apache-2.0
from copy import deepcopy
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch

from rd_plugin import ReverseDistillation
from rd_plugin.components import held_out
from rd_plugin.export.statistics import compute_statistics, distances

SIDE = 32
# So wide that residuals are projected at the coarser scale.
LAYERS = ["layer1", "layer3"]


@pytest.fixture
def model() -> ReverseDistillation:
    torch.manual_seed(0)
    model = ReverseDistillation(
        "resnet18", LAYERS, pre_trained=False, deviation="mahalanobis", pre_processor=False, visualizer=False
    )
    return model.eval()


def images(count: int, seed: int) -> torch.Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def trained(model: ReverseDistillation, seed: int) -> ReverseDistillation:
    """A copy of the model that compares with other training images."""
    model = deepcopy(model)
    model.model.deviation.update(*model.model.distill(images(40, seed)))
    model.model.deviation.compute()
    return model


def read(model: ReverseDistillation, folder: Path) -> openvino.Model:
    return openvino.Core().read_model(model.to_openvino(folder, input_size=(SIDE, SIDE)))


def anomaly_map(model: openvino.Model, batch: torch.Tensor) -> np.ndarray:
    return openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(batch.numpy())["anomaly_map"]


@pytest.mark.slow
def test_statistics_are_replaced_by_those_of_the_images_given(model: ReverseDistillation, tmp_path: Path) -> None:
    exported, unseen = read(trained(model, seed=1), tmp_path), images(2, seed=3)
    assert [product.input_value(1).get_shape() for _, product in distances(exported)] == [
        [8, 8, 64, 64],
        [2, 2, 128, 128],
    ]
    before = anomaly_map(exported, unseen)
    compute_statistics(exported, (image[None].numpy() for image in images(40, seed=2)), held_out(range(40)), range(32))
    with torch.no_grad():
        expected = trained(model, seed=2)(unseen).anomaly_map.numpy()
    np.testing.assert_allclose(anomaly_map(exported, unseen), expected, rtol=1e-2)
    assert np.abs(before / expected - 1).max() > 0.1


def of_vectors(transposed: bool) -> openvino.Model:
    """A model that compares three numbers of an image with statistics, as the fused one does."""
    ops = openvino.opset13
    images = ops.parameter([1, 3, SIDE, SIDE], name="images")
    spread = ops.reduce_mean(ops.multiply(images, images), np.array([2, 3]), keep_dims=False)
    centred = ops.add(ops.unsqueeze(spread, np.array(0)), np.zeros((1, 1, 3), np.float32))
    product = ops.matmul(centred, np.eye(3, dtype=np.float32)[None], transpose_a=False, transpose_b=transposed)
    return openvino.Model([product], [images])


def test_matrices_that_are_held_transposed_do_the_same() -> None:
    seen = images(40, seed=1)
    # So that numbers go together, and matrices are not their own transposes.
    seen[:, 1] = 0.7 * seen[:, 0] + 0.3 * seen[:, 1]
    seen *= torch.linspace(0.5, 1, len(seen))[:, None, None, None]
    results = []
    for transposed in (False, True):
        model = of_vectors(transposed)
        compute_statistics(model, (image[None].numpy() for image in seen), held_out(range(len(seen))), range(32))
        compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        results.append(np.concatenate([compiled(image[None].numpy())[0] for image in seen]))
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-4)
    # What is usual is about one.
    assert 0.1 < np.square(results[0]).mean() < 1.5


def test_model_with_another_deviation_is_left_as_it_is() -> None:
    inputs = openvino.opset13.parameter([1, 3, 8, 8])
    product = openvino.opset13.matmul(inputs, np.ones((8, 8), dtype=np.float32), transpose_a=False, transpose_b=False)
    model = openvino.Model([product], [inputs])
    assert distances(model) == []
    # Not even an image is read.
    compute_statistics(model, map(pytest.fail, ["image"]), held_out([0]), ())
