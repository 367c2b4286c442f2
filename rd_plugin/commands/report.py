# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin report``: a page to look at, from verdicts that were written as a table."""

import json
import sys
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from rd_plugin.provenance import record_file
from rd_plugin.report import report_verdicts

from .suggestions import nearest_file

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments.

    Args:
        parser: The subcommand's parser.
    """
    parser.add_argument("verdicts", metavar="VERDICTS", type=Path, help="what inspect wrote by --csv or --jsonl")
    parser.add_argument("--output", metavar="FILE", type=Path, help="the page, by default VERDICTS with .html")
    parser.add_argument("--images", metavar="FOLDER", type=Path, default=Path(), help="where relative paths begin")
    parser.add_argument(
        "--good",
        metavar="NAME",
        type=str,
        help="images in folders of this name are known to be good, all others to be defects: mistakes are then counted",
    )
    parser.add_argument("--model", metavar="MODEL", type=Path, help="the model that judged, whose record is shown")


def run(arguments: Namespace) -> None:
    """Make a page.

    Args:
        arguments: What was parsed.

    Raises:
        OSError: If a file is not there, or the page cannot be written.
        ValueError: If the verdicts are no verdicts, or the model has no record.
    """
    source: Path = arguments.verdicts
    if not source.is_file():
        msg = f"verdicts {str(source)!r} is not a file.{nearest_file(source)}"
        raise FileNotFoundError(msg)
    output = arguments.output or source.with_suffix(".html")
    record = None if arguments.model is None else _record(arguments.model)
    count = report_verdicts(source, output, arguments.good, arguments.images, record)
    sys.stdout.write(f"{output} written: {count} images.\n")


def _record(model: Path) -> dict[str, object]:
    """The record beside a model.

    Raises:
        ValueError: If there is none, or the file holds something else.
    """
    file = record_file(model)
    try:
        record = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        msg = f"model {str(model)!r} has no record that can be read: {str(file)!r}."
        raise ValueError(msg) from error
    return record if isinstance(record, dict) else {}
