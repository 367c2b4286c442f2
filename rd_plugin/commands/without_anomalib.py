# SPDX-License-Identifier: Apache-2.0
"""Subcommands that are parsed and run without anomalib: importing it takes seconds, and a station does not have it."""

from argparse import ArgumentError
from collections.abc import Sequence

from . import inspect
from .error_messages import WrongInput, error_message
from .help_text import describe, describe_subcommand, new_parser

__all__ = ["run_inspect"]

_OF_INPUT = (ArgumentError, ImportError, OSError, ValueError)


def run_inspect(words: Sequence[str]) -> int:
    """Parse and run ``inspect``.

    Args:
        words: Options of the tool, the subcommand and its arguments, as ``arrange`` returns them.

    Returns:
        Exit status.

    Raises:
        WrongInput: If an argument, a file or a folder is wrong.
        SystemExit: After help.
    """
    parser, subparser = new_parser(), new_parser()
    inspect.add_arguments(subparser)
    describe_subcommand("inspect", subparser)
    parser.add_subcommands().add_subcommand("inspect", subparser)
    describe(parser)
    try:
        return inspect.run(parser.parse_args(list(words)).inspect)
    except _OF_INPUT as error:
        raise WrongInput(error_message(error, words, {"inspect": subparser})) from error
