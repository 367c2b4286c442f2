# SPDX-License-Identifier: Apache-2.0
"""Which operations of an exported graph belong to the networks, and which to what comes before and after them."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from .statistics import is_constant

if TYPE_CHECKING:
    import openvino as ov

__all__ = ["is_transformer", "other_operations"]

_CONVOLUTIONS = {"Convolution", "ConvolutionBackpropData", "GroupConvolution", "GroupConvolutionBackpropData"}
# Values, which are no operations to a quantizer.
_NO_OPERATION = {"Constant", "Convert", "Parameter", "Result"}


def is_transformer(model: "ov.Model") -> bool:
    """Return whether the networks are a vision transformer."""
    return {"MVN", "ScaledDotProductAttention"} <= {node.get_type_name() for node in model.get_ordered_ops()}


def other_operations(model: "ov.Model") -> list[str]:
    """Names of the operations that are not the networks'.

    Those before the networks normalize, register or cut images; those after them compute evidence and the map. They
    must not be quantized: an anomaly map is a small difference, one minus a cosine near one, which is lost in 8 bits,
    and a defect's deviation exceeds the range of the normal images that calibrate a quantizer, which would clip it.

    The networks reach from the first convolution to the last. Those of a vision transformer reach from the convolution
    that makes the patches to the norms that the map begins with, and products within attention are no layers.
    """
    operations = [node for node in model.get_ordered_ops() if node.get_type_name() not in _NO_OPERATION]
    convolutions = [node for node in operations if node.get_type_name() in _CONVOLUTIONS]
    after = _related(convolutions, _users)
    if is_transformer(model):
        norms = [node for node in operations if node.get_type_name() == "ReduceL2"]
        # Those of the features; that of a fused score comes after them.
        later = _related(norms, _users)
        first = [norm for norm in norms if norm.get_friendly_name() not in later]
        networks = after & _related(first, _inputs) - _related(first, _users)
        networks -= {
            node.get_friendly_name()
            for node in operations
            if node.get_type_name() == "MatMul" and not is_constant(node.input_value(1).get_node())
        }
    else:
        networks = after & _related(convolutions, _inputs)
    networks |= {node.get_friendly_name() for node in convolutions}
    return [node.get_friendly_name() for node in operations if node.get_friendly_name() not in networks]


def _related(start: Iterable["ov.Node"], neighbours: Callable[["ov.Node"], Iterable["ov.Node"]]) -> set[str]:
    """Names of the operations that are reached from some, in one direction."""
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        for node in neighbours(waiting.pop()):
            if node.get_friendly_name() not in found:
                found.add(node.get_friendly_name())
                waiting.append(node)
    return found


def _inputs(node: "ov.Node") -> list["ov.Node"]:
    return [node.input_value(index).get_node() for index in range(node.get_input_size())]


def _users(node: "ov.Node") -> list["ov.Node"]:
    return [user.get_node() for output in node.outputs() for user in output.get_target_inputs()]
