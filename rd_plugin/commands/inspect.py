# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin inspect``: judge image files by a trained model."""

import math
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from .images import find_images
from .judges import Judge, load_judge
from .rows import Row, row_writers

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = "Judge images by a trained model, each as normal or anomalous with a score; the threshold is 0.5."


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments.

    Args:
        parser: The subcommand's parser.
    """
    parser.add_argument("model", metavar="MODEL", type=Path, help="OpenVINO export (.xml) or checkpoint (.ckpt)")
    parser.add_argument(
        "paths",
        metavar="PATH",
        type=str,
        nargs="+",
        help="image files, folders (searched at any depth) or patterns ('parts/**/*.png')",
    )
    parser.add_argument("--csv", metavar="FILE", type=Path, help="new file: path, verdict, score and reason as CSV")
    parser.add_argument("--jsonl", metavar="FILE", type=Path, help="new file: the same as JSON, one object a line")


def run(arguments: Namespace) -> int:
    """Judge images, and write each verdict as soon as it is known.

    Args:
        arguments: What was parsed.

    Returns:
        Exit status: 1 if there was an image that could not be judged.

    Raises:
        OSError: If the model is not there, or a file for the results is, or cannot be made.
        ValueError: If the model cannot be used.
    """
    judge = load_judge(arguments.model)
    failed = False
    with row_writers(arguments.csv, arguments.jsonl) as write:
        for path, missing in find_images(arguments.paths):
            row = _row(judge, path, missing)
            failed |= row.score is None
            write(row)
    return 1 if failed else 0


def _row(judge: Judge, path: str, missing: str | None) -> Row:
    """Judge one image, unless it is missing; whatever is wrong with it, the others are still to be judged."""
    reason = missing or judge.refusal(path)
    if reason is not None:
        return Row(path, "not judged", reason=reason)
    try:
        anomalous, score = judge.judge(path)
    except Exception as error:  # of Pillow, torch or OpenVINO, each of which raises its own kinds
        return Row(path, "not judged", reason=f"the image cannot be judged ({' '.join(str(error).split())}).")
    if not math.isfinite(score):
        return Row(path, "not judged", reason="the model gives no score that is a number.")
    return Row(path, "anomalous" if anomalous else "normal", score)
