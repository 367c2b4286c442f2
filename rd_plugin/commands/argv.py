# SPDX-License-Identifier: Apache-2.0
"""The words of a command line before they are parsed. No other module reads them."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from rd_plugin.configurations import configuration

from .help_text import SUBCOMMANDS

__all__ = ["arrange", "option_names", "option_value", "options", "typed", "without"]

_CONFIGURATIONS = {"-c", "--config"}
_OF_ALL = {"-v", "--verbose", "--traceback"}


def typed(command_line: Any = None) -> list[str]:
    """Return the words that were typed after the program's name.

    Args:
        command_line: A command line object, whose attribute ``given`` replaces the process's own arguments.
    """
    return list(getattr(command_line, "given", sys.argv[1:]))


def options(words: Sequence[str]) -> Iterator[tuple[str, str | None, int]]:
    """Find options.

    Yields:
        Name, value and index of each option; the value is the text after ``=``, or the next word.

    Example:
        >>> list(options(["train", "--seed", "1", "-c=fast"]))
        [('--seed', '1', 1), ('-c', 'fast', 3)]
    """
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name.startswith("-") and name.strip("-") and not name[1].isdigit():
            yield name, value if equals else next(iter(words[place + 1 :]), None), place


def option_names(words: Sequence[str]) -> set[str]:
    """Return the names of all options, such as ``"--config"``."""
    return {name for name, _, _ in options(words)}


def option_value(name: str, words: Sequence[str]) -> str | None:
    """Return the last value of an option; ``None`` if it is not given.

    Args:
        name: Such as ``"--ckpt_path"``.
        words: Words of a command line.
    """
    return next((value for option, value, _ in reversed(list(options(words))) if option == name), None)


def without(words: Sequence[str], *names: str) -> list[str]:
    """Return words without some options and their values.

    Args:
        words: Words of a command line.
        *names: Such as ``"--engine"``.

    Example:
        >>> without(["train", "--engine", "ray", "--threads=2", "--each"], "--engine", "--threads")
        ['train', '--each']
    """
    left = list(words)
    for name, _, place in reversed(list(options(words))):
        if name in names:
            del left[place : place + (1 if "=" in words[place] else 2)]
    return left


def arrange(words: Sequence[str]) -> list[str]:
    """Put words into the order that the parser needs, and replace names of configurations by paths.

    The parser accepts options of the tool only before the subcommand, and a configuration overrides options that are
    typed before it.

    Returns:
        Options of the tool, subcommand, configurations and all others.

    Example:
        >>> [word[-9:] for word in arrange(["train", "--seed", "1", "-c", "fast", "-v"])]
        ['-v', 'train', '-c', 'fast.yaml', '--seed', '1']
    """
    of_all = [word for word in words if word in _OF_ALL]
    words = [word for word in words if word not in _OF_ALL]
    start = next((place for place, word in enumerate(words, start=1) if word in SUBCOMMANDS), len(words))
    configurations: list[str] = []
    used: set[int] = set()
    for name, value, place in options(words):
        if name in _CONFIGURATIONS and place >= start and value is not None:
            configurations += [name, _path(value)]
            used |= {place} if "=" in words[place] else {place, place + 1}
    others = [word for place, word in enumerate(words) if place >= start and place not in used]
    return [*of_all, *words[:start], *configurations, *others]


def _path(name: str) -> str:
    """The path of a configuration, if one has this name; otherwise the name."""
    try:
        return str(configuration(name))
    except OSError:  # the parser reports the error
        return name
