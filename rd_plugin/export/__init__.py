# SPDX-License-Identifier: Apache-2.0
"""Ways out of a model: the export step, what is done to an OpenVINO graph, and int8."""

from .graph import decide_branches
from .mixin import ExportedModule
from .quantization import quantize, quantize_with_control

__all__ = ["ExportedModule", "decide_branches", "quantize", "quantize_with_control"]
