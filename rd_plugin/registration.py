# SPDX-License-Identifier: Apache-2.0
"""All changes that importing the package makes in anomalib.

jsonargparse, and so ``anomalib train``, finds a class by its import path without any change. ``get_model`` and
``anomalib benchmark`` import only from modules on anomalib's list; this package is added to it. anomalib's command line
gets the fixes of ``cli_fixes``, and finds the package's classes by name.

Each function is called when anomalib itself is imported. That takes seconds, so the tool's help does not import it.
"""

import functools
import importlib
from types import ModuleType
from typing import Any

__all__ = ["prepare_command_line", "register"]


def register(models: ModuleType) -> None:
    """Allow ``get_model({"class_path": "rd_plugin.<Model>"})``. A second call changes nothing.

    Args:
        models: The module ``anomalib.models``.
    """
    models.ALLOWED_MODULES.update({"rd_plugin", "rd_plugin.models"})


def prepare_command_line(cli: ModuleType) -> None:
    """Make the package's classes known to ``anomalib <subcommand>``, and add ``cli_fixes``.

    The tool ``rd-plugin`` derives from anomalib's command line, so it gets them, too. A second call changes nothing.

    Args:
        cli: The module ``anomalib.cli.cli``, which a pipeline in Python does not import.
    """
    importlib.import_module("rd_plugin.interface")
    if hasattr(cli.AnomalibCLI.before_instantiate_classes, "__wrapped__"):
        return
    unprepared = cli.AnomalibCLI.before_instantiate_classes

    @functools.wraps(unprepared)
    def prepared(self: Any) -> None:
        from rd_plugin.commands.argv import typed
        from rd_plugin.commands.cli_fixes import fix_arguments

        unprepared(self)
        subcommand = self.config["subcommand"]
        fix_arguments(subcommand, self.config[subcommand], typed(self))

    cli.AnomalibCLI.before_instantiate_classes = prepared
