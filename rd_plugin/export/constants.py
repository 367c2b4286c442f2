# SPDX-License-Identifier: Apache-2.0
"""Thresholds and ranges in an exported graph: one constant that any runtime's file can be searched for."""

import shutil
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import openvino as ov

__all__ = ["Constants", "read_constants", "write_constants"]

# What the constant begins and ends with. Converters rename, merge and move constants, but keep their values; these
# numbers are exact in half precision, too.
_BEGIN, _END = (1789.0, 1031.0, 1913.0), (1543.0,)
_SIZE = len(_BEGIN) + 4 + len(_END)


@dataclass(frozen=True)
class Constants:
    """What scores and maps are normalized by, on the network's own scale.

    Args:
        image_threshold: Threshold of scores.
        image_range: Difference of scores that is 1 on the linear scale.
        pixel_threshold: Threshold of the anomaly map.
        pixel_range: The same difference for the map.
    """

    image_threshold: float
    image_range: float
    pixel_threshold: float
    pixel_range: float

    #: Index of the first number in :meth:`packed`.
    first = len(_BEGIN)

    def packed(self) -> np.ndarray:
        """Return the numbers with the marks around them, of shape ``(8,)``, float32."""
        return np.array([*_BEGIN, *astuple(self), *_END], np.float32)

    @classmethod
    def of(cls, values: np.ndarray) -> "Constants | None":
        """Return the constants that an array holds; ``None`` if it is another array."""
        if values.size != _SIZE or values.dtype.kind != "f":
            return None
        numbers = values.reshape(-1).astype(np.float32)
        begin, found, end = np.split(numbers, [len(_BEGIN), len(_BEGIN) + 4])
        return cls(*found.tolist()) if (*begin, *end) == (*_BEGIN, *_END) else None


def read_constants(path: str | Path) -> Constants:
    """Read the constants of an export.

    Args:
        path: An OpenVINO (``.xml``) or ONNX (``.onnx``) export.

    Raises:
        ValueError: If it has none: it is of an earlier version, or of a model without thresholds.
    """
    if Path(path).suffix == ".onnx":
        import onnx  # part of the extra `onnx`

        places: Iterator[Any] = _of_onnx(onnx.load(path))
    else:
        places = _of_openvino(_read_openvino(path))
    found = next((constants for _, constants in places), None)
    if found is None:
        msg = (
            f"{str(path)!r} holds its threshold where it cannot be changed: it was exported by version 0.2 or earlier, "
            "or without a threshold. Export its checkpoint again."
        )
        raise ValueError(msg)
    return found


def write_constants(source: str | Path, target: str | Path, constants: Constants) -> None:
    """Write a copy of an export with other constants.

    Args:
        source: The export, which has constants.
        target: The file to write, of the same kind; for OpenVINO, weights are written next to it.
        constants: The new ones.
    """
    if Path(source).suffix == ".onnx":
        import onnx

        model = onnx.load(source)
        for tensor, _ in _of_onnx(model):
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(_like(onnx.numpy_helper.to_array(tensor), constants), tensor.name)
            )
        # Weights stay in a separate file, if they are in one.
        weights = Path(f"{source}.data")
        apart = weights.is_file()
        onnx.save(model, target, save_as_external_data=apart, location=f"{Path(target).name}.data" if apart else None)
        if Path(f"{target}.data").is_file():
            # onnx lets only the owner read it.
            shutil.copymode(weights, f"{target}.data")
        return
    import openvino as ov

    graph = _read_openvino(source)
    for node, _ in list(_of_openvino(graph)):
        replacement = ov.op.Constant(_like(node.data, constants))
        replacement.set_friendly_name(node.get_friendly_name())
        node.output(0).replace(replacement.output(0))
    ov.save_model(graph, target, compress_to_fp16=False)


def _like(values: np.ndarray, constants: Constants) -> np.ndarray:
    """Packed constants in the shape and type of others."""
    return constants.packed().reshape(values.shape).astype(values.dtype)


def _read_openvino(path: str | Path) -> "ov.Model":
    import openvino as ov  # part of the extra `openvino`

    core = ov.Core()
    # Memory-mapped files cannot be written while they are read.
    core.set_property({"ENABLE_MMAP": False})
    return core.read_model(path)


def _of_openvino(model: "ov.Model") -> Iterator[tuple["ov.Node", Constants]]:
    """The graph's nodes that hold constants."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant" and (found := Constants.of(node.data)):
            yield node, found


def _of_onnx(model: Any) -> Iterator[tuple[Any, Constants]]:
    """The graph's tensors that hold constants."""
    from onnx import numpy_helper

    held = [attribute.t for node in model.graph.node for attribute in node.attribute if attribute.HasField("t")]
    for tensor in [*model.graph.initializer, *held]:
        # Large tensors may be in a separate file, and would take time to convert.
        if np.prod(tensor.dims, dtype=int) == _SIZE and (found := Constants.of(numpy_helper.to_array(tensor))):
            yield tensor, found
