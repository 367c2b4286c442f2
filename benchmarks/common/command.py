# SPDX-License-Identifier: Apache-2.0
"""The command line that all benchmarks share."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from . import grid
from .records import RESULTS, done, read

__all__ = ["add_training_options", "build_parser", "existing_file", "machine", "records_file", "run"]


def build_parser(
    module: str, description: str | None, what: Sequence[str] = ("run",), device: str | None = None
) -> argparse.ArgumentParser:
    """Return a parser with the options of everything that leaves records.

    Args:
        module: What is run: ``python -m MODULE``; its last name is that of its records' file.
        description: Its documentation.
        what: What can be asked for, besides ``table``.
        device: Device unless one is asked for; without one a GPU if there is any.
    """
    parser = argparse.ArgumentParser(
        f"python -m {module}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    several: dict[str, Any] = {"nargs": "+"} if len(what) > 1 else {"nargs": "?", "default": what[0]}
    add("what", choices=[*what, "table"], help="table: print what there are records of", **several)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    add("--device", choices=["cpu", "cuda"], default=device, help="(default: %(default)s)")
    add("--threads", type=int, help=f"of torch in a cell (default: {torch.get_num_threads()}, shared by all jobs)")
    add("--only", nargs="+", metavar="PATTERN", help="cells whose name or a part of it is like this, with wildcards")
    add("--retry", choices=["failed", "all"], nargs="?", const="failed", help="run failed cells again, or all")
    add("--records", type=Path, default=RESULTS, help="folder of the records (default: %(default)s)")
    parser.set_defaults(suite=module.rpartition(".")[2])
    return parser


def add_training_options(parser: argparse.ArgumentParser, **defaults: int | list[int]) -> None:
    """Add the options of benchmarks that train on images.

    Args:
        parser: The parser.
        **defaults: Those of ``seeds``, ``steps``, ``batch`` and ``image_size``, of benchmarks that have the option.
    """
    add = parser.add_argument
    add("--root", type=Path, help="where the data is")
    add("--workers", type=int, default=1, help="processes that read images (default: %(default)s)")
    add("--jobs", type=int, default=1, help="cells that run at a time (default: %(default)s)")
    texts = {"seeds": "", "steps": "of the training ", "batch": "images a step ", "image_size": "in pixels "}
    for name, default in defaults.items():
        several: dict[str, Any] = {"nargs": "+"} if isinstance(default, list) else {}
        text = f"{texts[name]}(default: %(default)s)"
        add(f"--{name.replace('_', '-')}", type=int, default=default, help=text, **several)


def machine(options: argparse.Namespace) -> grid.Machine:
    """Return what is to be run on."""
    threads = options.threads or max(1, torch.get_num_threads() // getattr(options, "jobs", 1))
    return grid.Machine(options.device, threads, getattr(options, "workers", 0))


def existing_file(options: argparse.Namespace, name: str) -> Path:
    """Return the file that an option names.

    Raises:
        ValueError: If it is not given, or there is no such file.
    """
    file: Path | None = getattr(options, name)
    if file is None or not file.is_file():
        msg = f"there is no {name} {file}."
        raise ValueError(msg)
    return file.resolve()


def records_file(options: argparse.Namespace) -> Path:
    """Return the file of a suite's records."""
    return options.records / f"{options.suite}.parquet"


def run(
    parser: argparse.ArgumentParser,
    options: argparse.Namespace,
    build: Callable[[argparse.Namespace], list[grid.Cell]],
    show: Callable[[pd.DataFrame], str],
) -> int:
    """Run a grid, or ``table`` alone, and print the table of its records; return 1 if a cell has failed.

    Args:
        parser: Ends the program with one line if ``build`` raises a ``ValueError``.
        options: What was asked for.
        build: Makes the cells.
        show: Makes a text of the rows of runs that have not failed.
    """
    file = records_file(options)
    if "table" in options.what:
        rows = done(read(file))
        print("No records yet." if rows.empty else show(rows))
        return 0
    try:
        cells = grid.select(build(options), options.only)
    except ValueError as error:
        parser.error(str(error))
    rows = grid.run(cells, file, machine(options), options.retry, getattr(options, "jobs", 1))
    failed = int(rows["failure"].notna().sum())
    print(f"{len(cells) - failed} of {len(cells)} cells done, {failed} failed: {file}")
    if failed < len(cells):
        print(show(done(rows)))
    return int(failed > 0)
