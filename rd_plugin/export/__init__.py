# SPDX-License-Identifier: Apache-2.0
"""Export of models: the export step, exact transforms, changes to an OpenVINO graph, and int8."""

from .graph import decide_branches
from .mixin import ExportedModule
from .pre_processor import ExactPreProcessor
from .quantization import quantize, quantize_with_control
from .transforms import ExportableCenterCrop, ExportableResize, exportable

__all__ = [
    "ExactPreProcessor",
    "ExportableCenterCrop",
    "ExportableResize",
    "ExportedModule",
    "decide_branches",
    "exportable",
    "quantize",
    "quantize_with_control",
]
