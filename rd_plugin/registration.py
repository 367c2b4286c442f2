# SPDX-License-Identifier: Apache-2.0
"""All changes that importing the package makes in anomalib.

jsonargparse, and so ``anomalib train``, finds a class by its import path without any change. ``get_model`` and
``anomalib benchmark`` import only from modules on anomalib's list; this package is added to it. anomalib's command line
gets the fixes of ``cli_fixes``, and finds the package's classes by name.

Each function is called when anomalib itself is imported. That takes seconds, so the tool's help does not import it.
"""

import functools
import importlib
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["keep_folder_named_latest", "prepare_command_line", "register"]

logger = logging.getLogger(__name__)


def register(models: ModuleType) -> None:
    """Allow ``get_model({"class_path": "rd_plugin.<Model>"})``. A second call changes nothing.

    Args:
        models: The module ``anomalib.models``.
    """
    models.ALLOWED_MODULES.update({"rd_plugin", "rd_plugin.models"})


def keep_folder_named_latest(engine: ModuleType) -> None:
    """Let a training begin where anomalib cannot make its link ``latest``. A second call changes nothing.

    There may be a folder or file of that name, or the file system may have no links.

    Args:
        engine: The module ``anomalib.engine.engine``.
    """
    if hasattr(engine.create_versioned_dir, "__wrapped__"):
        return
    unprepared = engine.create_versioned_dir

    @functools.wraps(unprepared)
    def prepared(root_dir: str | Path) -> Path:
        root = Path(root_dir).resolve()
        before = set(root.glob("v*"))
        try:
            return unprepared(root_dir)
        except OSError as error:
            # The run's own folder is made before the link.
            made = set(root.glob("v*")) - before
            if not made:
                raise
            logger.warning("%s is unchanged, and does not point to this run (%s).", root / "latest", error.strerror)
            return made.pop()

    engine.create_versioned_dir = prepared  # type: ignore[attr-defined]


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
