# SPDX-License-Identifier: Apache-2.0
"""What importing the package changes in anomalib; nothing else does.

jsonargparse, and with it ``anomalib train``, finds a class by its import path with nothing done. ``get_model`` and
``anomalib benchmark`` import only from modules on anomalib's list; this package is added there. And anomalib 2.7's
command line takes ``--seed_everything`` without ever reading it, and meets a results folder that it cannot make with
a bare error of the system's; in a process that runs it, both arguments are looked at, and a schedule of validations
that is given but is Lightning's default is told from one that is not given.
"""

import functools
import sys
from collections.abc import Sequence
from typing import Any

from anomalib.models import ALLOWED_MODULES
from lightning import seed_everything

from rd_plugin.storage import check_folder

__all__ = ["heed_schedule", "prepare_command_line", "register"]

_SCHEDULE = {"--trainer.check_val_every_n_epoch", "--trainer.val_check_interval"}


def register() -> None:
    """Allow ``get_model({"class_path": "rd_plugin.<Model>"})``; doing it twice changes nothing."""
    ALLOWED_MODULES.update({"rd_plugin", "rd_plugin.models"})


def heed_schedule(arguments: Any, given: Sequence[str]) -> None:
    """Leave it to the trainer when to validate, if the command line says so, though in Lightning's own default.

    A trainer does not tell an argument that was given from one that was not. The model's ``validations`` becomes
    ``None``, in the configuration that anomalib writes beside the run, too, unless it is given itself.

    Args:
        arguments: Those of a subcommand, as parsed.
        given: The words of the command line.
    """
    model = arguments.get("model")
    names = {word.partition("=")[0] for word in given}
    own = model is not None and str(model.get("class_path", "")).startswith("rd_plugin.")
    if own and names & _SCHEDULE and "--model.validations" not in names and "validations" in model["init_args"]:
        model["init_args"]["validations"] = None


def prepare_command_line() -> None:
    """Let ``anomalib <subcommand>`` heed ``--seed_everything`` and ``--default_root_dir`` before it builds anything.

    The seed does what its help says: ``True``, anomalib's default, draws one and logs it; ``False`` seeds nothing. The
    seed that was used replaces the argument in the configuration that anomalib writes beside the run, as in Lightning's
    own command line. A folder that cannot be written to stops the command with an :class:`OSError` that names the
    argument. Nothing is changed in a process that is not that command.
    """
    # Not imported: a pipeline in Python has no command line.
    module = sys.modules.get("anomalib.cli.cli")
    if module is None or hasattr(module.AnomalibCLI.before_instantiate_classes, "__wrapped__"):
        return
    unprepared = module.AnomalibCLI.before_instantiate_classes

    @functools.wraps(unprepared)
    def prepared(cli: Any) -> None:
        unprepared(cli)
        arguments = cli.config[cli.config["subcommand"]] or {}
        seed = arguments.get("seed_everything", False)
        if seed is not False:
            arguments["seed_everything"] = seed_everything(None if seed is True else seed, workers=True)
        folder = arguments.get("default_root_dir")
        # An export with a folder of its own writes nothing there.
        if folder is not None and "://" not in str(folder) and arguments.get("export_root") is None:
            check_folder(folder, 0, "default_root_dir")
        heed_schedule(arguments, sys.argv)

    module.AnomalibCLI.before_instantiate_classes = prepared
