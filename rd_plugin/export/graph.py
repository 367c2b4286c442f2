# SPDX-License-Identifier: Apache-2.0
"""The graph of an OpenVINO export without what no image can reach."""

from pathlib import Path

__all__ = ["decide_branches"]


def decide_branches(path: Path) -> None:
    """Write an exported model anew, without branches that no image can take.

    anomalib's post-processor keeps some for a model without a range, and they would be computed for every image.

    Args:
        path: The ``.xml`` file, which has its ``.bin`` beside it.
    """
    import openvino as ov  # part of the extra `openvino`

    core = ov.Core()
    # Mapped files cannot be written while they are read.
    core.set_property({"ENABLE_MMAP": False})
    model = core.read_model(path)
    for operation in model.get_ordered_ops():
        if operation.get_type_name() != "Select":
            continue
        condition = operation.input_value(0).get_node()
        if condition.get_type_name() != "Constant" or condition.data.size != 1:
            continue
        chosen = operation.input_value(1 if condition.data.item() else 2)
        if chosen.get_partial_shape() == operation.get_output_partial_shape(0):
            operation.output(0).replace(chosen)
    ov.save_model(model, path, compress_to_fp16=False)
