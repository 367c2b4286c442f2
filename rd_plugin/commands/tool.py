# SPDX-License-Identifier: Apache-2.0
"""The console script."""

import sys
from collections.abc import Sequence

from .argv import arrange, typed
from .help_text import print_help
from .log_level import set_log_level

__all__ = ["main"]

_HELP = {"-h", "--help", "--help_all"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the tool.

    Args:
        arguments: Subcommand and arguments; the process's own by default.

    Raises:
        SystemExit: If the exit status is not 0; the help lists the statuses.
    """
    given = arrange(typed() if arguments is None else arguments)
    set_log_level(verbose=bool({"-v", "--verbose"} & set(given)))
    if _HELP.issuperset(given) and given:
        print_help()
        return
    # This imports anomalib, which takes seconds.
    from .command_line import CommandLine, WrongInput

    try:
        CommandLine(given)
    except WrongInput as error:
        if "--traceback" in given:
            raise
        sys.stderr.write(f"rd-plugin: error: {error}\n")
        raise SystemExit(2) from error
    except Exception as error:
        sys.excepthook(type(error), error, error.__traceback__)
        raise SystemExit(3) from error
