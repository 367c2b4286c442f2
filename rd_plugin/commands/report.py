# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin report``: an HTML page from a file of results."""

import sys
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from .suggestions import nearest_file

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "results",
        metavar="RESULTS",
        type=Path,
        help="file of inspect --csv or --jsonl, or folder of --parquet",
    )
    parser.add_argument("--output", metavar="FILE", type=Path, help="the page, by default RESULTS with .html")
    parser.add_argument("--images", metavar="FOLDER", type=Path, default=Path(), help="folder of relative paths")
    parser.add_argument(
        "--good",
        metavar="NAME",
        type=str,
        help="images in folders of this name are good, all others are defects: mistakes are then counted",
    )
    parser.add_argument("--model", metavar="MODEL", type=Path, help="the model of the results, to show its record")


def run(arguments: Namespace) -> None:
    """Make a page.

    Raises:
        OSError: If a file does not exist, or the page cannot be written.
        ValueError: If the file holds no results, or the model has no record.
    """
    # The help does not wait for these.
    from rd_plugin.provenance import read_record, record_file
    from rd_plugin.report import Selection, report_results
    from rd_plugin.results import InspectionResult, in_order, read_results, results_of

    source: Path = arguments.results
    if not source.exists():
        msg = f"results {str(source)!r} is not a file or folder.{nearest_file(source)}"
        raise FileNotFoundError(msg)
    output = arguments.output or source.with_suffix(".html")
    record = None if arguments.model is None else read_record(arguments.model)
    if record == {}:
        msg = f"model {str(arguments.model)!r} has no record that can be read: {str(record_file(arguments.model))!r}."
        raise ValueError(msg)
    results: list[InspectionResult] | Selection
    if source.is_dir():
        rows = (result for table in in_order(str(source)) for result in results_of(table))
        # False alarms are counted from all.
        results = Selection(rows) if arguments.good is None else list(rows)
    else:
        results = read_results(source).results
    if not (results.shown if isinstance(results, Selection) else results):
        msg = f"results {str(source)!r} contains no result of rd-plugin inspect."
        raise ValueError(msg)
    count = report_results(results, output, arguments.good, arguments.images, record)
    sys.stdout.write(f"{output} written: {count} images.\n")
