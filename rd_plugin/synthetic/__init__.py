# SPDX-License-Identifier: Apache-2.0
"""Synthetic anomalies (their place, shape and texture), and perturbations that are not defects."""

from rd_plugin.renamed import renamed

from .foreground import ForegroundType, foreground
from .perturbations import change_brightness, perturb, shift
from .simplex import SimplexTwins, simplex_noise
from .spots import spot_masks
from .textures import Textures
from .twins import TwinGenerator, perlin_masks

__all__ = [
    "ForegroundType",
    "SimplexTwins",
    "Textures",
    "TwinGenerator",
    "change_brightness",
    "foreground",
    "perlin_masks",
    "perturb",
    "shift",
    "simplex_noise",
    "spot_masks",
]

__getattr__ = renamed(__name__)
