# SPDX-License-Identifier: Apache-2.0
"""Subcommands that are parsed and run without anomalib: importing it takes seconds, and a station does not have it."""

from argparse import ArgumentError
from collections.abc import Sequence
from types import ModuleType

from . import inspect, products, serve
from .error_messages import WrongInput, error_message
from .help_text import describe, describe_subcommand, new_parser

__all__ = ["WITHOUT_ANOMALIB", "run_subcommand"]

#: The subcommands.
WITHOUT_ANOMALIB: dict[str, ModuleType] = {"inspect": inspect, "products": products, "serve": serve}
_OF_INPUT = (ArgumentError, ImportError, OSError, ValueError)


def run_subcommand(name: str, words: Sequence[str]) -> int:
    """Parse and run a subcommand.

    Args:
        name: One of ``WITHOUT_ANOMALIB``.
        words: Options of the tool, the subcommand and its arguments, as ``arrange`` returns them.

    Returns:
        Exit status.

    Raises:
        WrongInput: If an argument, a file or a folder is wrong.
        SystemExit: After help.
    """
    parser, subparser = new_parser(), new_parser()
    WITHOUT_ANOMALIB[name].add_arguments(subparser)
    describe_subcommand(name, subparser)
    parser.add_subcommands().add_subcommand(name, subparser)
    describe(parser)
    try:
        status = WITHOUT_ANOMALIB[name].run(parser.parse_args(list(words))[name])
    except _OF_INPUT as error:
        raise WrongInput(error_message(error, words, {name: subparser})) from error
    return 0 if status is None else status
