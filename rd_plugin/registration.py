# SPDX-License-Identifier: Apache-2.0
"""What importing the package changes in anomalib; nothing else does.

jsonargparse, and with it ``anomalib train``, finds a class by its import path with nothing done. ``get_model`` and
``anomalib benchmark`` import only from modules on anomalib's list; this package is added there. anomalib's command line
acts on arguments that it does not look at, and knows the package's classes by name.

Each is called when anomalib itself is imported: that takes seconds, which the tool's help does without.
"""

import functools
import importlib
from types import ModuleType
from typing import Any

__all__ = ["prepare_command_line", "register"]


def register(models: ModuleType) -> None:
    """Allow ``get_model({"class_path": "rd_plugin.<Model>"})``; doing it twice changes nothing.

    Args:
        models: The module ``anomalib.models``.
    """
    models.ALLOWED_MODULES.update({"rd_plugin", "rd_plugin.models"})


def prepare_command_line(cli: ModuleType) -> None:
    """Let ``anomalib <subcommand>`` know the package's classes, and give it what ``cli_fixes`` holds.

    The tool ``rd-plugin`` derives from anomalib's command line, and gets it here, too.

    Doing it twice changes nothing.

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
