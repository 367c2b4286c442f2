# SPDX-License-Identifier: Apache-2.0
"""Reverse-distillation models for anomalib."""

from .expert_reverse_distillation import ExpertReverseDistillation, ExpertReverseDistillationModel
from .reverse_distillation import ReverseDistillation, ReverseDistillationModel

__all__ = [
    "ExpertReverseDistillation",
    "ExpertReverseDistillationModel",
    "ReverseDistillation",
    "ReverseDistillationModel",
]
