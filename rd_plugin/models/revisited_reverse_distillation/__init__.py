# SPDX-License-Identifier: Apache-2.0
"""Revisiting reverse distillation, RD++ (Tien et al., CVPR 2023)."""

from .lightning_model import RevisitedReverseDistillation
from .torch_model import RevisitedReverseDistillationModel

__all__ = ["RevisitedReverseDistillation", "RevisitedReverseDistillationModel"]
