# SPDX-License-Identifier: Apache-2.0
"""Look at data without training on it: ``python -m rd_plugin check --data MVTec --data.root ROOT``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import jsonargparse
import yaml
from anomalib.data import AnomalibDataModule
from jsonargparse.typing import PositiveInt

from .callback import listing, set_up
from .datamodule import SPLITS, check_datamodule
from .files import MAX_PIXELS, allow_pixels

__all__ = ["main"]


def _parse(arguments: Sequence[str] | None) -> tuple[AnomalibDataModule, int]:
    """Build the data module from the arguments that ``train`` takes for it, those of a configuration included."""
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--config", type=Path)
    known, rest = first.parse_known_args(arguments)
    parser = jsonargparse.ArgumentParser(
        prog="python -m rd_plugin check",
        description="Look at every image and mask of a data module, and at how they are split. Exit status 1: there "
        "are problems that would spoil the result.",
    )
    parser.add_argument("--config", metavar="FILE", help="configuration of a training; its section `data` is used")
    parser.add_argument("--max_pixels", type=PositiveInt, default=MAX_PIXELS, help="greatest number in an image")
    parser.add_subclass_arguments(AnomalibDataModule, "data", required=True)
    if known.config is not None:
        try:
            section = yaml.safe_load(known.config.read_text())["data"]
        except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
            parser.error(f"--config {str(known.config)!r} has no section 'data' that can be read ({error!r}).")
        parser.set_defaults({"data": section})
    built = parser.instantiate_classes(parser.parse_args(rest))
    return built.data, built.max_pixels


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: What stands after ``check``; the process's own by default.

    Raises:
        SystemExit: With status 1, if there are problems that would spoil a result.
    """
    datamodule, max_pixels = _parse(arguments)
    allow_pixels(max_pixels)
    datamodule.prepare_data()
    try:
        set_up(datamodule)
    except ValueError as error:
        sys.stdout.write(f"{error}\n")
        raise SystemExit(1) from error
    problems = check_datamodule(datamodule, max_pixels=max_pixels)
    counts = [
        f"{len(dataset.samples)} {split}" for split in SPLITS if (dataset := getattr(datamodule, f"{split}_data", None))
    ]
    errors = [problem for problem in problems if problem.severity == "error"]
    notes = [problem for problem in problems if problem.severity == "note"]
    sys.stdout.write(f"{' + '.join(counts)} images: {len(errors)} problems, {len(notes)} notes.\n")
    for found in (errors, notes):
        if found:
            sys.stdout.write(f"{listing(found)}\n")
    if errors:
        raise SystemExit(1)
