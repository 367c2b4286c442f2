# SPDX-License-Identifier: Apache-2.0
"""Synthetic anomalies: where they may be, what they look like, and images that have them; and changes that are none."""

from .conditions import in_other_conditions, in_other_light
from .foreground import ForegroundType, foreground
from .spots import spot_masks
from .textures import Textures
from .twins import TwinGenerator, perlin_masks

__all__ = [
    "ForegroundType",
    "Textures",
    "TwinGenerator",
    "foreground",
    "in_other_conditions",
    "in_other_light",
    "perlin_masks",
    "spot_masks",
]
