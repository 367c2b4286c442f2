# SPDX-License-Identifier: Apache-2.0
"""The console script."""

import io
import sys
from collections.abc import Sequence

from .argv import arrange, options, typed
from .error_messages import WrongInput
from .help_text import SUBCOMMANDS, print_help, print_subcommand_help
from .log_level import set_log_level
from .suggestions import nearest
from .without_anomalib import WITHOUT_ANOMALIB, run_subcommand

__all__ = ["main"]

_HELP = {"-h", "--help", "--help_all"}
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool.

    Args:
        arguments: Subcommand and arguments; the process's own by default.

    Raises:
        SystemExit: If the exit status is not 0; the help lists the statuses.
    """
    try:
        _main(arrange(typed() if arguments is None else arguments))
    except KeyboardInterrupt:
        # In Lightning's loops and in inspect, Ctrl+C ends the work in an orderly way; here nothing has begun.
        sys.stderr.write("rd-plugin: stopped by Ctrl+C.\n")
        raise SystemExit(_INTERRUPTED) from None


def _main(given: Sequence[str]) -> None:
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal or pipe cannot show must not end the run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    set_log_level(verbose=bool({"-v", "--verbose"} & set(given)))
    if _HELP.issuperset(given) and given:
        print_help()
        return
    name = _subcommand(given)
    if name not in SUBCOMMANDS:
        problem = "a subcommand is missing" if name is None else f"{name!r} is not a subcommand"
        sys.stderr.write(f"rd-plugin: error: {problem}: {', '.join(SUBCOMMANDS)}.{nearest(name or '', SUBCOMMANDS)}\n")
        raise SystemExit(2)
    asked = set(given) - {name, "-v", "--verbose", "--traceback"}
    if asked and asked <= {"-h", "--help"} and print_subcommand_help(name):
        return
    try:
        _run(name, given)
    except WrongInput as error:
        if "--traceback" in given:
            raise
        sys.stderr.write(f"rd-plugin: error: {error}\n")
        raise SystemExit(2) from error
    except Exception as error:
        sys.excepthook(type(error), error, error.__traceback__)
        raise SystemExit(3) from error


def _subcommand(words: Sequence[str]) -> str | None:
    """The first word that is no option, nor the value of one; ``None`` if there is none."""
    values = {place + 1 for name, _, place in options(words) if name in {"-c", "--config"} and "=" not in words[place]}
    return next((word for place, word in enumerate(words) if not word.startswith("-") and place not in values), None)


def _run(name: str, words: Sequence[str]) -> None:
    """Run a subcommand; those that build models, data or the engine import anomalib, which takes seconds."""
    if name in WITHOUT_ANOMALIB:
        if (status := run_subcommand(name, words)) is not None:
            raise SystemExit(status)
        return
    if name == "train" and "--each" in words:
        from .each import train_each

        raise SystemExit(train_each(words))
    from .command_line import CommandLine

    CommandLine(words)
