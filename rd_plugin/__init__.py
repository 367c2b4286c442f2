# SPDX-License-Identifier: Apache-2.0
"""Reverse distillation for anomalib: RD4AD (CVPR 2022) and RD with Expert (AAAI 2025) as anomalib models."""

from rd_plugin.data import MVTec, SolarCells
from rd_plugin.models import ExpertReverseDistillation, ReverseDistillation
from rd_plugin.registration import register

__all__ = ["ExpertReverseDistillation", "MVTec", "ReverseDistillation", "SolarCells"]

register()
