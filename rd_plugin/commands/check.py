# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin check``: check data without training on it."""

import sys

from anomalib.data import AnomalibDataModule
from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from rd_plugin.data.check import MAX_PIXELS, SPLITS, allow_pixels, check_datamodule, set_up
from rd_plugin.data.check.actions import counted, listing
from rd_plugin.drift import check_outliers, file_statistics

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--max_pixels", type=PositiveInt, default=MAX_PIXELS, help="maximum number in an image")
    parser.add_subclass_arguments(AnomalibDataModule, "data", required=True)


def run(datamodule: AnomalibDataModule, max_pixels: int = MAX_PIXELS) -> int:
    """Check a data module, and print the findings.

    Args:
        datamodule: Not set up yet.
        max_pixels: Maximum number of pixels in an image.

    Returns:
        Exit status: 1 if there are problems that would affect a result.
    """
    allow_pixels(max_pixels)
    datamodule.prepare_data()
    try:
        set_up(datamodule)
    except ValueError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    problems = check_datamodule(datamodule, max_pixels=max_pixels)
    problems += check_outliers(file_statistics(datamodule.train_data.samples["image_path"], max_pixels))
    counts = [
        f"{len(dataset.samples)} {split}" for split in SPLITS if (dataset := getattr(datamodule, f"{split}_data", None))
    ]
    errors = [problem for problem in problems if problem.severity == "error"]
    notes = [problem for problem in problems if problem.severity == "note"]
    sys.stdout.write(f"{' + '.join(counts)} images: {counted(errors, 'problem')}, {counted(notes, 'note')}.\n")
    for found in (errors, notes):
        if found:
            sys.stdout.write(f"{listing(found)}\n")
    return 1 if errors else 0
