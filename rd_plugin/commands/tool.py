# SPDX-License-Identifier: Apache-2.0
"""The console script."""

import sys
from collections.abc import Sequence
from itertools import islice

from rd_plugin.configurations import configuration

from .help_text import SUBCOMMANDS, print_help
from .loudness import set_loudness

__all__ = ["main"]

_HELP = {"-h", "--help", "--help_all"}
_OF_ALL = ("-v", "--verbose", "--traceback")


def _path(name: str) -> str:
    """The path of a configuration, if there is one of that name."""
    try:
        return str(configuration(name))
    except OSError:  # the parser says what was wrong
        return name


def with_configurations(arguments: Sequence[str]) -> list[str]:
    """Replace names of the package's configurations by their paths, and put configurations before what overrules them.

    jsonargparse takes arguments in order, and a configuration at the end would undo what was typed before it.

    Args:
        arguments: Those of the command line.

    Returns:
        The subcommand, the configurations and all others.

    Example:
        >>> [argument[-9:] for argument in with_configurations(["train", "--seed", "1", "-c", "fast"])]
        ['train', '-c', 'fast.yaml', '--seed', '1']
    """
    configurations: list[str] = []
    others: list[str] = []
    place = next((index for index, word in enumerate(arguments, start=1) if word in SUBCOMMANDS), len(arguments))
    words = iter(arguments[place:])
    for word in words:
        option, equals, value = word.partition("=")
        if option not in {"-c", "--config"}:
            others.append(word)
        elif equals:
            configurations.append(f"{option}={_path(value)}")
        else:
            configurations += [option, *(_path(value) for value in islice(words, 1))]
    return [*arguments[:place], *configurations, *others]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool.

    Args:
        arguments: Subcommand and arguments; the process's own by default.

    Raises:
        SystemExit: If the exit status is not 0; the statuses stand in the help.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    # They stand before the subcommand for the parser, and anywhere for people.
    given = [*(word for word in words if word in _OF_ALL), *(word for word in words if word not in _OF_ALL)]
    set_loudness(verbose=bool({"-v", "--verbose"} & set(given)))
    if _HELP.issuperset(given) and given:
        print_help()
        return
    # This imports anomalib, which takes seconds.
    from .command_line import CommandLine, WrongInput

    try:
        CommandLine(with_configurations(given))
    except WrongInput as error:
        if "--traceback" in given:
            raise
        sys.stderr.writelines(f"rd-plugin: error: {said}\n" for said in error.sentences)
        raise SystemExit(2) from error
    except Exception as error:
        sys.excepthook(type(error), error, error.__traceback__)
        raise SystemExit(3) from error
