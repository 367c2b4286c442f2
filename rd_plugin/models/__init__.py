# SPDX-License-Identifier: Apache-2.0
"""Reverse-distillation models for anomalib."""

from .distillation import Distillation
from .expert_reverse_distillation import ExpertReverseDistillation, ExpertReverseDistillationModel
from .fused_reverse_distillation import FusedReverseDistillation, FusedReverseDistillationModel
from .reverse_distillation import ReverseDistillation, ReverseDistillationModel
from .revisited_reverse_distillation import RevisitedReverseDistillation, RevisitedReverseDistillationModel

__all__ = [
    "METHODS",
    "ExpertReverseDistillation",
    "ExpertReverseDistillationModel",
    "FusedReverseDistillation",
    "FusedReverseDistillationModel",
    "ReverseDistillation",
    "ReverseDistillationModel",
    "RevisitedReverseDistillation",
    "RevisitedReverseDistillationModel",
]

# All methods. Their checkpoints can be read and inspected, and the common tests run for each of them.
METHODS: tuple[type[Distillation], ...] = (
    ReverseDistillation,
    ExpertReverseDistillation,
    FusedReverseDistillation,
    RevisitedReverseDistillation,
)
