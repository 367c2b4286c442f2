# SPDX-License-Identifier: Apache-2.0
"""Fused reverse distillation: the student's error and the teacher's features, joined by statistics of normal images."""

from .lightning_model import FusedReverseDistillation
from .torch_model import FusedReverseDistillationModel

__all__ = ["FusedReverseDistillation", "FusedReverseDistillationModel"]
