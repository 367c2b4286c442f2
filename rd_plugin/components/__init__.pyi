# SPDX-License-Identifier: Apache-2.0
from .alignment import AlignedBatch, Alignment, AlignType, Registration
from .anomaly_map import AnomalyMapGenerator, AnomalyMapMode, ImageScore, ScoreType
from .bottleneck import BottleneckType, build_bottleneck
from .cosine import cosine_deviation, flattened_deviation, mean_inside
from .deviation import CosineDeviation, DeviationType, MahalanobisDeviation, ResidualStatistics, build_deviation
from .fixed_size_map import FixedSizeMap
from .gaussians import PositionGaussians
from .held_out import held_out, perturbed_places, spread
from .images import FINITE_RANGE, RAW_RANGE, check_images, check_range, in_range, mask_invalid
from .noisy_bottleneck import NoisyBottleneck, TokenBottleneckType
from .projection import random_directions
from .pyramid import Pyramid, Residual, Stage
from .region import RegionMask
from .resampling import BlurBorder, resampling_matrix
from .roi import Region
from .student import Student
from .teacher import Teacher
from .tiles import Tiles, tiles_of
from .token_student import LinearAttention, TokenStudent
from .vit_teacher import ViTTeacher, build_teacher, default_image_size, is_plain_vit, patch_size

__all__ = [
    "FINITE_RANGE",
    "RAW_RANGE",
    "AlignType",
    "AlignedBatch",
    "Alignment",
    "AnomalyMapGenerator",
    "AnomalyMapMode",
    "BlurBorder",
    "BottleneckType",
    "CosineDeviation",
    "DeviationType",
    "FixedSizeMap",
    "ImageScore",
    "LinearAttention",
    "MahalanobisDeviation",
    "NoisyBottleneck",
    "PositionGaussians",
    "Pyramid",
    "Region",
    "RegionMask",
    "Registration",
    "Residual",
    "ResidualStatistics",
    "ScoreType",
    "Stage",
    "Student",
    "Teacher",
    "Tiles",
    "TokenBottleneckType",
    "TokenStudent",
    "ViTTeacher",
    "build_bottleneck",
    "build_deviation",
    "build_teacher",
    "check_images",
    "check_range",
    "cosine_deviation",
    "default_image_size",
    "flattened_deviation",
    "held_out",
    "in_range",
    "is_plain_vit",
    "mask_invalid",
    "mean_inside",
    "patch_size",
    "perturbed_places",
    "random_directions",
    "resampling_matrix",
    "spread",
    "tiles_of",
]
