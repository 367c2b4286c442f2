# SPDX-License-Identifier: Apache-2.0
"""Subcommands that are parsed without anomalib: importing it takes seconds, and a station does not have it."""

from argparse import ArgumentError
from collections.abc import Sequence
from importlib import import_module

from .error_messages import WrongInput, error_message
from .help_text import describe, describe_subcommand, new_parser

__all__ = ["WITHOUT_ANOMALIB", "run_subcommand"]

#: Their names; each has a module in this folder. Of these, ``inspect``, ``products`` and ``serve`` also run without it.
WITHOUT_ANOMALIB = ("compare", "convert", "inspect", "products", "report", "roi", "serve", "threshold", "update")
_OF_INPUT = (ArgumentError, ImportError, OSError, ValueError)


def run_subcommand(name: str, words: Sequence[str]) -> int | None:
    """Parse and run a subcommand.

    Args:
        name: One of ``WITHOUT_ANOMALIB``.
        words: Options of the tool, the subcommand and its arguments, as ``arrange`` returns them.

    Returns:
        Exit status; ``None`` of a subcommand that has one only.

    Raises:
        WrongInput: If an argument, a file or a folder is wrong.
        SystemExit: After help.
    """
    subcommand = import_module(f"{__package__}.{name}")
    parser, subparser = new_parser(), new_parser()
    # In this order, since ``convert`` has subcommands itself.
    parser.add_subcommands().add_subcommand(name, subparser)
    subcommand.add_arguments(subparser)
    describe_subcommand(name, subparser)
    describe(parser)
    try:
        return subcommand.run(parser.parse_args(list(words))[name])
    except _OF_INPUT as error:
        raise WrongInput(error_message(error, words, {name: subparser})) from error
