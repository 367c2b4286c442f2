# SPDX-License-Identifier: Apache-2.0
"""What importing the package changes in anomalib; nothing else does.

jsonargparse, and with it ``anomalib train``, finds a class by its import path with nothing done. ``get_model`` and
``anomalib benchmark`` import only from modules on anomalib's list; this package is added there. And anomalib 2.7's
command line takes ``--seed_everything`` without ever reading it; in a process that runs it, it is read.
"""

import functools
import sys
from typing import Any

from anomalib.models import ALLOWED_MODULES
from lightning import seed_everything

__all__ = ["register", "seed_command_line"]


def register() -> None:
    """Allow ``get_model({"class_path": "rd_plugin.<Model>"})``; doing it twice changes nothing."""
    ALLOWED_MODULES.update({"rd_plugin", "rd_plugin.models"})


def seed_command_line() -> None:
    """Let ``anomalib <subcommand> --seed_everything N`` do what its help says, if this process is that command.

    ``True``, anomalib's default, draws a seed and logs it; ``False`` seeds nothing. The seed that was used replaces
    the argument in the configuration that anomalib writes beside the run, as in Lightning's own command line.
    """
    # Not imported: a pipeline in Python has no command line to be seeded.
    module = sys.modules.get("anomalib.cli.cli")
    if module is None or hasattr(module.AnomalibCLI.before_instantiate_classes, "__wrapped__"):
        return
    unseeded = module.AnomalibCLI.before_instantiate_classes

    @functools.wraps(unseeded)
    def seeded(cli: Any) -> None:
        unseeded(cli)
        arguments = cli.config[cli.config["subcommand"]] or {}
        seed = arguments.get("seed_everything", False)
        if seed is not False:
            arguments["seed_everything"] = seed_everything(None if seed is True else seed, workers=True)

    module.AnomalibCLI.before_instantiate_classes = seeded
