# SPDX-License-Identifier: Apache-2.0
"""anomalib's command line with the package's ``check``, which needs a data module."""

from argparse import ArgumentError
from collections.abc import Collection, Sequence
from typing import Any
from unittest.mock import patch

from anomalib import __version__
from anomalib.cli import AnomalibCLI
from anomalib.data.errors import MisMatchError
from jsonargparse import ArgumentParser
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import cli as lightning_cli

import rd_plugin.interface  # noqa: F401  # its models and data modules are known by name from the start
from rd_plugin.data.part_names import chosen_part
from rd_plugin.export import ExportedModule
from rd_plugin.provenance import RecordedModule

from . import check
from .argv import option_names, typed
from .default_post_processor import with_default_post_processor
from .error_messages import WrongInput, error_message
from .export_place import beside_checkpoint
from .help_text import SUBCOMMANDS, describe, describe_subcommand, new_parser
from .recorded_model import check_is_there, with_recorded_model
from .saved_configuration import SaveConfigCallback
from .sections import accept_sections

__all__ = ["CommandLine"]

# Errors that wrong input causes; any other error is a bug.
_OF_INPUT = (ArgumentError, ImportError, MisMatchError, MisconfigurationException, OSError, ValueError)
# anomalib asks for data only after it has built a trainer and read a model's weights.
_ON_DATA = {"fit", "train", "validate", "test"}


class CommandLine(AnomalibCLI):
    """The tool's command line, which parses arguments and runs the subcommand.

    Args:
        args: Subcommand and arguments; the process's own by default.
        run: Whether to run the subcommand.

    Raises:
        WrongInput: If an argument, a file or a folder is wrong.
        SystemExit: After help, and with a subcommand's status if it is not 0.
    """

    def __init__(self, args: Sequence[str] | None = None, run: bool = True) -> None:
        self.given = typed() if args is None else list(args)
        try:
            super().__init__(with_recorded_model(with_default_post_processor(self.given)), run)
        except _OF_INPUT as error:
            # If a checkpoint cannot be read, there are no parsers yet.
            message = error_message(error, self.given, getattr(self, "subcommand_parsers", {}))
            raise WrongInput(message) from error

    @staticmethod
    def init_parser(**kwargs: Any) -> ArgumentParser:
        """Return a parser that raises its errors."""
        kwargs.setdefault("dump_header", [f"anomalib=={__version__}"])
        return new_parser(**kwargs)

    @staticmethod
    def anomalib_subcommands() -> dict[str, dict[str, str]]:
        """Return the subcommands that are not Lightning's, with their descriptions."""
        return {**AnomalibCLI.anomalib_subcommands(), "check": {"description": SUBCOMMANDS["check"].summary}}

    def add_subcommands(self, **kwargs: Any) -> None:
        """Add all subcommands, each with an example."""
        super().add_subcommands(**kwargs)
        describe(self.parser)
        for name, parser in self.subcommand_parsers.items():
            describe_subcommand(name, parser)

    def add_predict_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments of ``predict``, which takes a training's configuration, too."""
        super().add_predict_arguments(parser)
        self._accept_sections(parser, own={"model", "data"})

    def add_export_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments of ``export``, which takes a training's configuration, too."""
        super().add_export_arguments(parser)
        parser.add_argument(
            "--part", metavar="NAME", type=str | None, help="for a model of several parts: export only this one"
        )
        self._accept_sections(parser, own={"model", "data"})

    def add_check_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments of ``check``."""
        check.add_arguments(parser)
        self._accept_sections(parser, own={"data"})

    def _accept_sections(self, parser: ArgumentParser, own: Collection[str]) -> None:
        """Make a subcommand accept the configuration that a training or a test has written next to its results."""
        for training in ("train", "test"):
            accept_sections(parser, self.subcommand_parsers[training], own)

    def before_instantiate_classes(self) -> None:
        """Complete the arguments, before ``cli_fixes`` are applied."""
        arguments = self.config[self.subcommand]
        if self.subcommand in _ON_DATA and arguments.get("data") is None:
            msg = "data is missing: give --data NAME, such as PartsFolder with --data.root FOLDER."
            raise ValueError(msg)
        check_is_there(arguments.get("ckpt_path"))
        if self.subcommand == "export":
            beside_checkpoint(arguments, self.given)
        super().before_instantiate_classes()

    def instantiate_classes(self) -> None:
        """Build what a subcommand needs, and keep arguments that were typed with a checkpoint."""
        super().instantiate_classes()
        model, arguments = getattr(self, "model", None), self.config_init[self.subcommand]
        if not isinstance(model, RecordedModule):
            return
        model.given |= {name.removeprefix("--model.") for name in option_names(self.given)}
        if self.subcommand == "export" and "://" not in str(arguments["ckpt_path"]):
            # The engine would build the model again, from the checkpoint's arguments alone.
            model.restore(arguments["ckpt_path"])
            arguments["ckpt_path"] = None
            if isinstance(model, ExportedModule) and arguments.get("part") is not None:
                model.exported_part = chosen_part(arguments["part"], getattr(model.post_processor, "parts", ()))

    def instantiate_engine(self) -> None:
        """Build the engine, with a callback that writes the configuration whatever the logger is."""
        # anomalib imports Lightning's within this method, and takes no other.
        with patch.object(lightning_cli, "SaveConfigCallback", SaveConfigCallback):
            super().instantiate_engine()

    def check(self) -> None:
        """Run ``check``."""
        raise SystemExit(check.run(self.datamodule, self.config_init["check"]["max_pixels"]))
