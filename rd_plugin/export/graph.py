# SPDX-License-Identifier: Apache-2.0
"""Remove branches of an OpenVINO graph that no image can take."""

from pathlib import Path

__all__ = ["decide_branches"]


def decide_branches(path: Path) -> None:
    """Rewrite an exported model without branches that no image can take.

    anomalib's post-processor keeps branches for a model without a range, which would be computed for every image.

    Args:
        path: The ``.xml`` file, with its ``.bin`` next to it.
    """
    import openvino as ov  # part of the extra `openvino`

    core = ov.Core()
    # Memory-mapped files cannot be written while they are read.
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
