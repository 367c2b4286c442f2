# SPDX-License-Identifier: Apache-2.0
"""Reverse distillation for anomalib: RD4AD (CVPR 2022) and RD with Expert (AAAI 2025) as anomalib models."""

import warnings

with warnings.catch_warnings():
    # Of anomalib and timm, about how they import one another; nobody here can do anything about it.
    warnings.simplefilter("ignore", FutureWarning)
    from rd_plugin.configurations import configuration
    from rd_plugin.data import MVTec, OneClass, PartsFolder, SolarCells
    from rd_plugin.export import ExactPreProcessor
    from rd_plugin.inspection import Inspector
    from rd_plugin.models import ExpertReverseDistillation, FusedReverseDistillation, ReverseDistillation
    from rd_plugin.registration import prepare_command_line, register

__all__ = [
    "ExactPreProcessor",
    "ExpertReverseDistillation",
    "FusedReverseDistillation",
    "Inspector",
    "MVTec",
    "OneClass",
    "PartsFolder",
    "ReverseDistillation",
    "SolarCells",
    "configuration",
]

register()
prepare_command_line()
