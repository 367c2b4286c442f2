# SPDX-License-Identifier: Apache-2.0
"""Programs in processes of their own, without their ten seconds of imports each."""

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import pytest

# Seconds that a program may take.
_LIMIT = 900
# Neither anomalib's command line nor the package: the order in which a program imports them is tested, too.
_PRELOADED = ["anomalib.data", "anomalib.engine", "anomalib.models", "anomalib.visualization"]


class Done(NamedTuple):
    """What became of a process: its exit status, and what it printed to either stream."""

    status: int | None
    output: str


@cache
def _context() -> ForkServerContext:
    """Return a server that has imported everything, and forks for each program."""
    try:
        context = multiprocessing.get_context("forkserver")
    except ValueError:
        pytest.skip("needs a system that forks")
    context.set_forkserver_preload(_PRELOADED)
    return context


def _begin(
    folder: str, output: str, environment: dict[str, str], function: Callable[..., object], *args: object
) -> None:
    """Become the program: its folder, its streams, its environment."""
    # What it starts itself is to be started as by any program, of which the first way is the default.
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
    os.chdir(folder)
    os.environ.update(environment)
    # Of TMPDIR, if it is among these.
    tempfile.tempdir = None
    descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    function(*args)


def start_function(
    folder: Path, output: Path, function: Callable[..., object], *args: object, **environment: str
) -> BaseProcess:
    """Start a process as :func:`run_function` does; what it prints is added to a file that exists."""
    process = _context().Process(target=_begin, args=(str(folder), str(output), environment, function, *args))
    process.start()
    return process


def run_function(folder: Path, function: Callable[..., object], *args: object, **environment: str) -> Done:
    """Call a function of a module in a process of its own.

    Args:
        folder: The process's folder.
        function: What is called; raising ``SystemExit`` gives the exit status, any other error 1.
        *args: Its arguments, which can be pickled.
        **environment: Variables that are set.
    """
    with tempfile.NamedTemporaryFile() as output:
        process = start_function(folder, Path(output.name), function, *args, **environment)
        process.join(_LIMIT)
        if process.is_alive():
            process.kill()
            process.join(10)
            printed = Path(output.name).read_text()[-3000:]
            pytest.fail(f"{function.__name__}{args} did not end within {_LIMIT} s:\n{printed}")
        return Done(process.exitcode, Path(output.name).read_text())


def run_code(code: str, *arguments: str) -> None:
    """Run what ``python -c`` is given, with its arguments."""
    sys.argv = ["-c", *arguments]
    exec(code, {"__name__": "__main__"})  # a test's own


def run_program(program: str, *arguments: str) -> None:
    """Run ``anomalib``, the console script ``rd-plugin``, or a module, as if it had just been started."""
    sys.argv = [program, *arguments]
    if program == "anomalib":
        from anomalib.cli.cli import main

        main()
    elif program == "rd-plugin":
        from rd_plugin.commands.tool import main

        main()
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
