# SPDX-License-Identifier: Apache-2.0
"""Sections of a run's configuration that another subcommand takes and leaves alone."""

from collections.abc import Collection

from jsonargparse import SUPPRESS, ArgumentParser

__all__ = ["accept_sections"]

_ANYTHING = dict | list | str | bool | int | float | None


def accept_sections(parser: ArgumentParser, training: ArgumentParser, own: Collection[str]) -> None:
    """Let a parser take a run's configuration as it is; what it has no use for is not looked at.

    Args:
        parser: Parser of a subcommand, with its own arguments.
        training: Parser of ``train``, or of another that writes its configuration beside the results.
        own: Sections without a default, such as ``"data"``, that are the subcommand's own.
    """
    theirs = _with_defaults(training) | {"model", "data"}
    for section in sorted(theirs - _with_defaults(parser) - {"config", *own}):
        parser.add_argument(f"--{section}", type=_ANYTHING, help=SUPPRESS)


def _with_defaults(parser: ArgumentParser) -> set[str]:
    return {key.partition(".")[0] for key in parser.get_defaults().keys()}  # noqa: SIM118  # a Namespace
