# SPDX-License-Identifier: Apache-2.0
"""Data modules that the package adds to anomalib's."""

from .mvtec import MVTec
from .one_class import OneClass
from .parts_folder import PartsFolder
from .solar_cells import SolarCells

__all__ = ["MVTec", "OneClass", "PartsFolder", "SolarCells"]
