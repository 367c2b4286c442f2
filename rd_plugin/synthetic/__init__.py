# SPDX-License-Identifier: Apache-2.0
"""Synthetic anomalies: where they may be, what they look like, and images that have them; and changes that are none."""

from .foreground import ForegroundType, foreground
from .perturbations import change_brightness, perturb
from .spots import spot_masks
from .textures import Textures
from .twins import TwinGenerator, perlin_masks

__all__ = [
    "ForegroundType",
    "Textures",
    "TwinGenerator",
    "change_brightness",
    "foreground",
    "perlin_masks",
    "perturb",
    "spot_masks",
]
