# SPDX-License-Identifier: Apache-2.0
"""The console script."""

import logging
import sys
from collections.abc import Sequence

from rd_plugin.configurations import configuration

from .command_line import CommandLine, WrongInput

__all__ = ["main"]


def _path(name: str) -> str:
    """The path of a configuration, if there is one of that name."""
    try:
        return str(configuration(name))
    except OSError:  # the parser says what was wrong
        return name


def with_configurations(arguments: Sequence[str]) -> list[str]:
    """Replace names of the package's configurations by their paths.

    Args:
        arguments: Those of the command line.

    Example:
        >>> [argument[-15:] for argument in with_configurations(["train", "--config", "quickstart"])]
        ['train', '--config', 'quickstart.yaml']
    """
    replaced = list(arguments)
    for index, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option not in {"-c", "--config"}:
            continue
        if equals:
            replaced[index] = f"{option}={_path(value)}"
        elif index + 1 < len(replaced):
            replaced[index + 1] = _path(arguments[index + 1])
    return replaced


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool.

    Args:
        arguments: Subcommand and arguments; the process's own by default.

    Raises:
        SystemExit: If the exit status is not 0; the statuses stand in the help.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    try:
        CommandLine(with_configurations(given))
    except WrongInput as error:
        if "--traceback" in given:
            raise
        sys.stderr.write(f"rd-plugin: error: {error}\n")
        raise SystemExit(2) from error
    except Exception as error:
        sys.excepthook(type(error), error, error.__traceback__)
        raise SystemExit(3) from error
