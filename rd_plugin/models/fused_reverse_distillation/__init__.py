# SPDX-License-Identifier: Apache-2.0
"""Fused reverse distillation: the student's error and the teacher's features, joined by what good images tell."""

from .lightning_model import FusedReverseDistillation
from .torch_model import FusedReverseDistillationModel

__all__ = ["FusedReverseDistillation", "FusedReverseDistillationModel"]
