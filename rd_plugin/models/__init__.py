# SPDX-License-Identifier: Apache-2.0
"""Reverse-distillation models for anomalib."""

from .expert_reverse_distillation import ExpertReverseDistillation, ExpertReverseDistillationModel
from .fused_reverse_distillation import FusedReverseDistillation, FusedReverseDistillationModel
from .reverse_distillation import ReverseDistillation, ReverseDistillationModel

__all__ = [
    "ExpertReverseDistillation",
    "ExpertReverseDistillationModel",
    "FusedReverseDistillation",
    "FusedReverseDistillationModel",
    "ReverseDistillation",
    "ReverseDistillationModel",
]
