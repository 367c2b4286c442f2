# SPDX-License-Identifier: Apache-2.0
"""What all reverse-distillation methods have in common."""

from .feature_cache import FeatureCache, FeatureCacheType
from .lightning_model import Distillation
from .torch_model import DistillationModel

__all__ = ["Distillation", "DistillationModel", "FeatureCache", "FeatureCacheType"]
