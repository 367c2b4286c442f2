# SPDX-License-Identifier: Apache-2.0
"""Torch modules that reverse-distillation models are built from; none of them knows of Lightning."""

from .anomaly_map import AnomalyMapGenerator, AnomalyMapMode, ImageScore, ScoreType
from .bottleneck import BottleneckType, build_bottleneck
from .cosine import cosine_deviation, flattened_deviation
from .deviation import CosineDeviation, DeviationType, MahalanobisDeviation, ResidualStatistics, build_deviation
from .feature_cache import FeatureCache, FeatureCacheType
from .foreground import ForegroundType, foreground
from .images import FINITE_RANGE, RAW_RANGE, check_images, check_range, withhold, within
from .injection import InformationInjection, InjectionType
from .loss import CosineLoss, LossType
from .optimizer import ChannelsLastAdam
from .pyramid import Pyramid, Residual, Stage
from .resampling import BlurBorder, ResamplingTerms, resampling_matrix, resampling_terms
from .student import Student
from .teacher import Teacher
from .twins import TwinGenerator, perlin_masks

__all__ = [
    "FINITE_RANGE",
    "RAW_RANGE",
    "AnomalyMapGenerator",
    "AnomalyMapMode",
    "BlurBorder",
    "BottleneckType",
    "ChannelsLastAdam",
    "CosineDeviation",
    "CosineLoss",
    "DeviationType",
    "FeatureCache",
    "FeatureCacheType",
    "ForegroundType",
    "ImageScore",
    "InformationInjection",
    "InjectionType",
    "LossType",
    "MahalanobisDeviation",
    "Pyramid",
    "ResamplingTerms",
    "Residual",
    "ResidualStatistics",
    "ScoreType",
    "Stage",
    "Student",
    "Teacher",
    "TwinGenerator",
    "build_bottleneck",
    "build_deviation",
    "check_images",
    "check_range",
    "cosine_deviation",
    "flattened_deviation",
    "foreground",
    "perlin_masks",
    "resampling_matrix",
    "resampling_terms",
    "withhold",
    "within",
]
