# SPDX-License-Identifier: Apache-2.0
"""Sections of a run's configuration that another subcommand accepts and ignores."""

from collections.abc import Collection

from jsonargparse import SUPPRESS, ArgumentParser

__all__ = ["accept_sections"]

_ANYTHING = dict | list | str | bool | int | float | None


def accept_sections(parser: ArgumentParser, training: ArgumentParser, own: Collection[str]) -> None:
    """Make a parser accept the configuration of a run, and ignore the sections that it does not use.

    Args:
        parser: Parser of a subcommand, with its own arguments.
        training: Parser of ``train``, or of another subcommand that writes its configuration next to the results.
        own: Sections without a default, such as ``"data"``, that belong to the subcommand.
    """
    theirs = _with_defaults(training) | {"model", "data"}
    for section in sorted(theirs - _with_defaults(parser) - {"config", *own}):
        parser.add_argument(f"--{section}", type=_ANYTHING, help=SUPPRESS)


def _with_defaults(parser: ArgumentParser) -> set[str]:
    return {key.partition(".")[0] for key in parser.get_defaults().keys()}  # noqa: SIM118  # a Namespace
