# SPDX-License-Identifier: Apache-2.0
"""Reverse distillation, RD4AD (Deng and Li, CVPR 2022)."""

from .lightning_model import ReverseDistillation
from .torch_model import ReverseDistillationModel

__all__ = ["ReverseDistillation", "ReverseDistillationModel"]
