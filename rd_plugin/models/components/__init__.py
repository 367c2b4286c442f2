# SPDX-License-Identifier: Apache-2.0
"""Torch modules that reverse-distillation models are built from; none of them knows of Lightning."""

from .anomaly_map import AnomalyMapGenerator, AnomalyMapMode, BlurBorder, ImageScore, ScoreType
from .bottleneck import BottleneckType, build_bottleneck
from .cosine import cosine_deviation, flattened_deviation
from .foreground import ForegroundType, foreground
from .injection import InformationInjection, InjectionType
from .loss import CosineLoss, LossType
from .pyramid import Pyramid, Residual, Stage
from .student import Student
from .teacher import Teacher
from .twins import TwinGenerator, perlin_masks

__all__ = [
    "AnomalyMapGenerator",
    "AnomalyMapMode",
    "BlurBorder",
    "BottleneckType",
    "CosineLoss",
    "ForegroundType",
    "ImageScore",
    "InformationInjection",
    "InjectionType",
    "LossType",
    "Pyramid",
    "Residual",
    "ScoreType",
    "Stage",
    "Student",
    "Teacher",
    "TwinGenerator",
    "build_bottleneck",
    "cosine_deviation",
    "flattened_deviation",
    "foreground",
    "perlin_masks",
]
