# SPDX-License-Identifier: Apache-2.0
"""All public names at once, so that a command line and jsonargparse know every class."""

from rd_plugin.configurations import configuration
from rd_plugin.data import MVTec, OneClass, PartsFolder, SolarCells
from rd_plugin.export import ExactPreProcessor
from rd_plugin.inspection import Inspector
from rd_plugin.models import (
    ExpertReverseDistillation,
    FusedReverseDistillation,
    ReverseDistillation,
    RevisitedReverseDistillation,
)

__all__ = [
    "ExactPreProcessor",
    "ExpertReverseDistillation",
    "FusedReverseDistillation",
    "Inspector",
    "MVTec",
    "OneClass",
    "PartsFolder",
    "ReverseDistillation",
    "RevisitedReverseDistillation",
    "SolarCells",
    "configuration",
]
