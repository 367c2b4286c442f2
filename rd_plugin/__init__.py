# SPDX-License-Identifier: Apache-2.0
"""Reverse distillation for anomalib: RD4AD, RD++, RD with Expert, Dinomaly and a fused model, as anomalib models.

The public names are loaded when they are used, so that importing the package takes no time, and inspection with an
export needs no torch. ``rd_plugin.interface`` loads all of them.
"""

import warnings
from typing import TYPE_CHECKING, Any

from lazy_loader import attach
from wrapt import when_imported

from rd_plugin.registration import keep_folder_named_latest, prepare_command_line, register

if TYPE_CHECKING:
    from rd_plugin.interface import *  # noqa: F403

when_imported("anomalib.models")(register)
when_imported("anomalib.cli.cli")(prepare_command_line)
when_imported("anomalib.engine.engine")(keep_folder_named_latest)

_load, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "configurations": ["configuration"],
        "data": ["MVTec", "OneClass", "PartsFolder", "SolarCells"],
        "export": ["ExactPreProcessor"],
        "inspection": ["Inspector"],
        "models": [
            "ExpertReverseDistillation",
            "FusedReverseDistillation",
            "ReverseDistillation",
            "RevisitedReverseDistillation",
        ],
    },
)


def __getattr__(name: str) -> Any:
    """Load a public name."""
    with warnings.catch_warnings():
        # anomalib and timm warn about their own imports.
        warnings.simplefilter("ignore", FutureWarning)
        return _load(name)
