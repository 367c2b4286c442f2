# SPDX-License-Identifier: Apache-2.0
"""Torch modules that reverse-distillation models are built from; none of them knows of Lightning."""

from .anomaly_map import AnomalyMapGenerator, AnomalyMapMode, BlurBorder, ImageScore, ScoreType
from .bottleneck import BottleneckType, build_bottleneck
from .cosine import cosine_deviation
from .loss import CosineLoss, LossType
from .pyramid import Pyramid, Residual, Stage
from .student import Student
from .teacher import Teacher

__all__ = [
    "AnomalyMapGenerator",
    "AnomalyMapMode",
    "BlurBorder",
    "BottleneckType",
    "CosineLoss",
    "ImageScore",
    "LossType",
    "Pyramid",
    "Residual",
    "ScoreType",
    "Stage",
    "Student",
    "Teacher",
    "build_bottleneck",
    "cosine_deviation",
]
