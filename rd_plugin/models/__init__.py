# SPDX-License-Identifier: Apache-2.0
"""Reverse-distillation models for anomalib."""

from .reverse_distillation import ReverseDistillation, ReverseDistillationModel

__all__ = ["ReverseDistillation", "ReverseDistillationModel"]
