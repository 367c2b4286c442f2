# SPDX-License-Identifier: Apache-2.0
"""Where torch exports of version 0.2 look for the normalization of the brightness; goes with version 0.4."""

from .brightness import BrightnessNormalization as Light

__all__ = ["Light"]
