# SPDX-License-Identifier: Apache-2.0
"""Tests of what belongs to the networks in an exported graph."""

import numpy as np
import openvino

from rd_plugin.export.networks import is_transformer, other_operations
from tests.graphs import transformer


def test_layers_of_a_transformer_are_its_networks() -> None:
    graph = transformer()
    assert is_transformer(graph)
    products = {node.get_friendly_name() for node in graph.get_ordered_ops() if node.get_type_name() == "MatMul"}
    assert products - set(other_operations(graph)) == {"layer 1", "layer 2"}


def test_networks_reach_from_the_first_convolution_to_the_last() -> None:
    ops = openvino.opset13
    kernel = ops.constant(np.ones((3, 3, 1, 1), dtype=np.float32))

    def convolution(node: openvino.Node, name: str) -> openvino.Node:
        return ops.convolution(node, kernel, [1, 1], [0, 0], [0, 0], [1, 1], name=name)

    images = ops.parameter([1, 3, 8, 8], dtype=np.float32)
    features = ops.relu(convolution(ops.relu(images, name="before"), "teacher"), name="features")
    student = convolution(ops.relu(features, name="between"), "student")
    pooled = ops.reduce_mean(features, np.array([2, 3]), keep_dims=True, name="evidence")
    graph = openvino.Model([ops.subtract(student, pooled, name="after")], [images])
    assert not is_transformer(graph)
    assert set(other_operations(graph)) == {"before", "evidence", "after"}
