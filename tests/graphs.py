# SPDX-License-Identifier: Apache-2.0
"""Small OpenVINO graphs with the structure of exported models."""

import numpy as np
import openvino


def transformer() -> openvino.Model:
    """Resize, patches, a block with attention, and the map of its deviation, each with a product of its own name."""
    ops = openvino.opset13

    def product(node: openvino.Node, name: str, width: int = 8) -> openvino.Node:
        weights = ops.constant(np.ones((width, node.output(0).get_shape()[-1]), dtype=np.float32))
        return ops.matmul(node, weights, transpose_a=False, transpose_b=True, name=name)

    images = ops.parameter([1, 3, 8, 8], dtype=np.float32)
    kernel = ops.constant(np.ones((8, 3, 2, 2), dtype=np.float32))
    patches = ops.convolution(product(images, "resize"), kernel, [2, 2], [0, 0], [0, 0], [1, 1])
    tokens = ops.transpose(ops.reshape(patches, np.array([1, 8, 16]), special_zero=False), np.array([0, 2, 1]))
    normed = ops.mvn(tokens, np.array([2]), normalize_variance=True, eps=1e-6, eps_mode="inside_sqrt")
    queries = product(normed, "layer 1")
    attended = ops.scaled_dot_product_attention(queries, queries, queries)
    student = product(ops.matmul(attended, attended, transpose_a=False, transpose_b=True, name="attention"), "layer 2")
    deviation = ops.subtract(ops.reduce_l2(student, np.array([2])), ops.reduce_l2(tokens, np.array([2])))
    return openvino.Model([product(deviation, "map", 4), product(tokens, "statistics")], [images])
