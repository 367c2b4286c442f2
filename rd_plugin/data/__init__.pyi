# SPDX-License-Identifier: Apache-2.0
from .mvtec import MVTec
from .one_class import OneClass
from .parts_folder import PartsFolder
from .solar_cells import SolarCells

__all__ = ["MVTec", "OneClass", "PartsFolder", "SolarCells"]
