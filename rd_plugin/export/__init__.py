# SPDX-License-Identifier: Apache-2.0
"""What is done to the graph of an OpenVINO export."""

from .compact import compact
from .quantization import quantize, quantize_with_control

__all__ = ["compact", "quantize", "quantize_with_control"]
