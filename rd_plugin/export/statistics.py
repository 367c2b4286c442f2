# SPDX-License-Identifier: Apache-2.0
"""Statistics of training images, fitted again for quantized networks."""

import math
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch

from rd_plugin.components import PositionGaussians, ResidualStatistics
from rd_plugin.synthetic import perturb

if TYPE_CHECKING:
    import openvino as ov

__all__ = ["compute_statistics", "distances", "is_constant"]

# Factor of the mean in the operation that subtracts it; OpenVINO converts the subtraction to a sum.
_SIGNS = {"Add": -1, "Subtract": 1}


def distances(model: "ov.Model") -> list[tuple["ov.Node", "ov.Node"]]:
    """Find the Mahalanobis distances in an exported model.

    Returns:
        For each scale the operation that subtracts the mean from the residuals, and the following product with the
        matrix of each position; empty for a model with another deviation.
    """
    products = [
        operation
        for operation in model.get_ordered_ops()
        if operation.get_type_name() == "MatMul"
        and is_constant(operation.input_value(1).get_node())
        and len(operation.input_value(1).get_shape()) in _STATISTICS
    ]
    return [(_centring(product), product) for product in products]


def _centring(product: "ov.Node") -> "ov.Node":
    """The operation that subtracts the mean; between it and the product, vectors are grouped into blocks."""
    node = product.input_value(0).get_node()
    while node.get_type_name() not in _SIGNS:
        node = node.input_value(0).get_node()
    return node


def is_constant(node: "ov.Node") -> bool:
    """Return whether an operation is a constant, or a half-precision constant that is converted."""
    source = node.input_value(0).get_node() if node.get_type_name() == "Convert" else node
    return source.get_type_name() == "Constant"


def compute_statistics(
    model: "ov.Model", images: Iterable[np.ndarray], held_out: torch.Tensor, perturbed: Collection[int]
) -> None:
    """Fit the statistics of training images again with a quantized model.

    Networks in 8 bits round, also in directions in which normal images hardly varied before; there a rounding error
    would look like a defect. A model with another deviation is not changed.

    Args:
        model: Quantized model; its statistics are replaced.
        images: All training images, of shape ``(1, 3, H, W)`` in [0, 1], as a training reads them.
        held_out: Which of them are held out to choose the shrinkage, booleans of shape ``(N,)``, as in the training.
        perturbed: Indices of the images that are perturbed, as in the training.
    """
    import openvino as ov  # part of the extra `openvino`

    found = distances(model)
    if not found:
        return
    residuals = ov.Model([centring.input_value(0) for centring, _ in found], model.get_parameters())
    compiled = ov.compile_model(residuals, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    scales = [_STATISTICS[len(product.input_value(1).get_shape())](centring, product) for centring, product in found]
    perturbable = [(index, scale) for index, scale in enumerate(scales) if isinstance(scale, _Vectors)]

    def see(image: np.ndarray) -> list[torch.Tensor]:
        return [torch.from_numpy(part) for part in compiled(image).values()]

    for place, image in enumerate(images):
        seen = see(image)
        for scale, part in zip(scales, seen, strict=True):
            scale.add(part, held_out[place : place + 1])
        if perturbable and place in perturbed:
            with torch.random.fork_rng():
                torch.manual_seed(place)
                changed = [see(other.numpy()) for other in perturb(torch.tensor(image)).split(1)]
            for index, scale in perturbable:
                scale.add_perturbations(seen[index], torch.cat([parts[index] for parts in changed], dim=1))
    for (centring, product), scale in zip(found, scales, strict=True):
        mean, whitening = scale.compute()
        _replace(centring, _SIGNS[centring.get_type_name()] * mean)
        # OpenVINO holds a matrix that is the same for all positions in this shape.
        _replace(product, whitening.mT if product.get_attributes()["transpose_b"] else whitening)


class _Residuals:
    """Statistics of one scale's residuals at each position, of shape ``(H, W, 1, K)``."""

    def __init__(self, centring: "ov.Node", product: "ov.Node") -> None:
        del centring
        self._statistics = ResidualStatistics(product.input_value(1).get_shape()[-1])

    def add(self, residuals: torch.Tensor, held_out: torch.Tensor) -> None:
        del held_out
        self._statistics.add(residuals)

    def compute(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and whitening matrices, as the graph holds them."""
        self._statistics.compute()
        return self._statistics.mean, self._statistics.whitening


class _Vectors:
    """Statistics of feature vectors at each position, of shape ``(P, 1, K)``."""

    def __init__(self, centring: "ov.Node", product: "ov.Node") -> None:
        blocks, _, channels = product.input_value(1).get_shape()
        block = math.isqrt(centring.get_output_partial_shape(0)[0].get_length() // blocks)
        self._statistics = PositionGaussians(channels, channels, block)

    def add(self, vectors: torch.Tensor, held_out: torch.Tensor) -> None:
        self._statistics.add(vectors, held_out)

    def add_perturbations(self, vectors: torch.Tensor, perturbed: torch.Tensor) -> None:
        self._statistics.add_perturbations(vectors, perturbed)

    def compute(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and whitening matrices, as the graph holds them."""
        self._statistics.compute()
        self._statistics.include_held_out()
        # The graph has already divided the vectors by a scale; the new scale is folded into the matrices.
        scale = self._statistics.scale
        return self._statistics.mean * scale, self._statistics.whitening.float() / scale


# By the number of dimensions of the matrices.
_STATISTICS: dict[int, type[_Residuals] | type[_Vectors]] = {4: _Residuals, 3: _Vectors}


def _replace(operation: "ov.Node", constant: torch.Tensor) -> None:
    """Replace the constant that is an operation's second input."""
    import openvino as ov

    operation.input(1).replace_source_output(ov.op.Constant(constant.contiguous().numpy()).output(0))
