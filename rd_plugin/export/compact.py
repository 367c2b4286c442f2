# SPDX-License-Identifier: Apache-2.0
"""A smaller OpenVINO export that computes the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rd_plugin.models.components import AnomalyMapGenerator, BlurBorder, resampling_matrix, resampling_terms

if TYPE_CHECKING:
    import openvino as ov

__all__ = ["compact"]


def compact(path: Path, generator: AnomalyMapGenerator) -> None:
    """Write an exported model anew, without what can be told from the rest.

    Branches that no image can take are left out; anomalib's post-processor has some for a model without a range. In
    place of the matrices that make the anomaly map stands the formula that they are computed from, which OpenVINO
    evaluates once, when it loads the model. Both leave predictions as they are, up to rounding.

    Args:
        path: The ``.xml`` file, which has its ``.bin`` beside it.
        generator: What makes the model's anomaly map.
    """
    import openvino as ov  # part of the extra `openvino`

    core = ov.Core()
    # Mapped files cannot be written while they are read.
    core.set_property({"ENABLE_MMAP": False})
    model = core.read_model(path)
    _decide_branches(model)
    # Scales that are multiplied are blurred afterwards, and not before.
    for sigma in {generator.sigma, 0.0}:
        _state_formulas(model, sigma, generator.border)
    ov.save_model(model, path, compress_to_fp16=False)


def _decide_branches(model: "ov.Model") -> None:
    """Replace selections with a constant condition by what they select."""
    for operation in model.get_ordered_ops():
        if operation.get_type_name() != "Select":
            continue
        condition = operation.input_value(0).get_node()
        if condition.get_type_name() != "Constant" or condition.data.size != 1:
            continue
        chosen = operation.input_value(1 if condition.data.item() else 2)
        if chosen.get_partial_shape() == operation.get_output_partial_shape(0):
            operation.output(0).replace(chosen)


def _state_formulas(model: "ov.Model", sigma: float, border: BlurBorder) -> None:
    """Replace resampling matrices by their formula, wherever a pair of products holds them."""
    from openvino import opset13 as ops

    for tall, wide in _products(model):
        sides = [operation.input_value(0).get_partial_shape()[-2:] for operation in tall]
        target = wide.get_output_partial_shape(0)[-2:]
        if not all(shape.is_static for shape in (*sides, target)):
            continue
        heights, widths = zip(*(shape.to_shape() for shape in sides), strict=True)
        height, width = target.to_shape()
        rows = resampling_matrix(heights, height, sigma, border)
        expected = [*np.split(rows, np.cumsum(heights)[:-1], axis=1), resampling_matrix(widths, width, sigma, border)]
        if not all(map(_holds, [*tall, wide], expected)):
            continue
        formulas = {size: _formula(*size, sigma, border) for size in {(heights, height), (widths, width)}}
        parts = ops.variadic_split(formulas[heights, height], 1, list(heights)).outputs()
        for operation, part in zip([*tall, wide], [*parts, formulas[widths, width].output(0)], strict=True):
            operation.input(1).replace_source_output(part)


def _products(model: "ov.Model") -> Iterator[tuple[list["ov.Node"], "ov.Node"]]:
    """Yield products of several scales along one axis, with that which adds them along the other."""
    for wide in filter(_multiplies_maps, model.get_ordered_ops()):
        source = wide.input_value(0).get_node()
        joined = source.get_type_name() == "Concat"
        tall = [value.get_node() for value in source.input_values()] if joined else [source]
        if all(map(_multiplies_maps, tall)):
            yield tall, wide


def _multiplies_maps(operation: "ov.Node") -> bool:
    """Whether this is a product whose first factor may be maps of shape ``(N, H, W)``."""
    return operation.get_type_name() == "MatMul" and operation.get_input_partial_shape(0).rank == 3


def _holds(operation: "ov.Node", matrix: np.ndarray) -> bool:
    """Whether a product's second factor is the transpose of this matrix, in any precision."""
    constant = operation.input_value(1).get_node()
    if constant.get_type_name() == "Convert":
        constant = constant.input_value(0).get_node()
    return (
        constant.get_type_name() == "Constant"
        and operation.get_attributes()["transpose_b"]
        and np.array_equal(constant.data, matrix.astype(constant.data.dtype))
    )


def _formula(sources: tuple[int, ...], target: int, sigma: float, border: BlurBorder) -> "ov.Node":
    """The operations that compute a resampling matrix from its terms, of shape ``(target, sum(sources))``."""
    from openvino import opset13 as ops

    terms = [term.astype(np.float32) for term in resampling_terms(sources, target, sigma, border)]
    pixels, steps, positions, kernel = terms
    distances = ops.abs(ops.subtract(ops.multiply(pixels[None, None, :, None], steps), positions))
    weights = ops.relu(ops.subtract(np.float32(1), distances))
    blurred = ops.convolution(weights, kernel[None, None, :, None], [1, 1], [0, 0], [0, 0], [1, 1])
    return ops.squeeze(blurred, np.array([0, 1]))
