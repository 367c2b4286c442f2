# SPDX-License-Identifier: Apache-2.0
"""Reverse distillation for anomalib: RD4AD (CVPR 2022) as an anomalib model."""

from rd_plugin.data import MVTec, SolarCells
from rd_plugin.models import ReverseDistillation
from rd_plugin.registration import register

__all__ = ["MVTec", "ReverseDistillation", "SolarCells"]

register()
