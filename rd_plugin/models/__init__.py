# SPDX-License-Identifier: Apache-2.0
"""Reverse-distillation models for anomalib."""

from .distillation import Distillation
from .expert_reverse_distillation import ExpertReverseDistillation, ExpertReverseDistillationModel
from .fused_reverse_distillation import FusedReverseDistillation, FusedReverseDistillationModel
from .reverse_distillation import ReverseDistillation, ReverseDistillationModel

__all__ = [
    "METHODS",
    "ExpertReverseDistillation",
    "ExpertReverseDistillationModel",
    "FusedReverseDistillation",
    "FusedReverseDistillationModel",
    "ReverseDistillation",
    "ReverseDistillationModel",
]

# All methods: checkpoints of these are read and inspected, and the tests of every method run for them.
METHODS: tuple[type[Distillation], ...] = (
    ReverseDistillation,
    ExpertReverseDistillation,
    FusedReverseDistillation,
)
