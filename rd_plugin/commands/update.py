# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin update``: update a model with good images that it called anomalous."""

import sys
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from rd_plugin.data.labels import Labels, content_digest, read_labels
from rd_plugin.inspection import find_images
from rd_plugin.results import Share

from .threshold import add_output_arguments

__all__ = ["add_arguments", "run"]

_TABLE = "  {:<44}  {:<18}  {}\n"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments."""
    add: Any = parser.add_argument
    add("model", metavar="MODEL", type=Path, help="checkpoint (.ckpt)")
    add("--labels", metavar="FILE", type=Path, help="labels.csv of a report: images marked good or defect")
    add("--images", metavar="FOLDER", type=Path, default=Path(), help="folder of relative paths in --labels")
    add("--good", metavar="FOLDER", type=Path, help="good images that the model should accept as normal")
    add("--defect", metavar="FOLDER", type=Path, help="images of defects, which are only counted")
    add(
        "--old", metavar="FOLDER", type=Path, help="good images held out of the training, to measure and set thresholds"
    )
    add(
        "--training",
        metavar="FOLDER",
        type=Path,
        help="good images of the training, whose held-out ones count as --old; the others help to train",
    )
    add("--steps", type=PositiveInt, default=50, help="training steps of models other than FusedReverseDistillation")
    add("--rate", type=float, help="false-alarm rate of the threshold; by default as in the training")
    add(
        "--tolerate",
        type=float,
        default=0.02,
        help="maximum share of defects that may be lost; with more, nothing is written",
    )
    add_output_arguments(parser, "_updated")


def run(arguments: Namespace) -> None:
    """Update a model, and print what that changed.

    Raises:
        OSError: If a file does not exist, exists already, or cannot be written.
        ValueError: If an argument, an image or the model cannot be used, or more defects than tolerated are lost.
    """
    # The help does not wait for torch.
    from rd_plugin.feedback import update_model

    model: Path = arguments.model
    if not model.is_file():
        msg = f"model {str(model)!r} is not a file."
        raise FileNotFoundError(msg)
    labels = Labels() if arguments.labels is None else read_labels(arguments.labels, arguments.images)
    good = [*labels.good, *_images(arguments.good)]
    if not good:
        msg = "give good FOLDER, or labels FILE with images that are marked as good."
        raise ValueError(msg)
    unclear = {content_digest(path) for path in labels.unclear}
    output = arguments.output or model.with_name(f"{model.stem}_updated{model.suffix}")
    update = update_model(
        model,
        output,
        good,
        old=_images(arguments.old),
        training=[path for path in _images(arguments.training) if content_digest(path) not in unclear],
        steps=arguments.steps,
        defects=[*labels.defect, *_images(arguments.defect)],
        rate=arguments.rate,
        tolerate=arguments.tolerate,
        overwrite=arguments.overwrite,
        max_pixels=arguments.max_pixels,
        threads=arguments.threads,
    )
    sys.stdout.write(_TABLE.format(f"{update.learned} new good images learned", "before", "after"))
    for name, pair in (
        ("false alarms, new good images held out", update.good),
        ("false alarms, good images of the training", update.old),
        ("defects found", update.defects),
    ):
        before, after = ("none given", "") if pair is None else map(_text, pair)
        sys.stdout.write(_TABLE.format(name, before, after))
    sys.stdout.write(f"\n{output} written. Held-out images are among those that set its threshold. Export it again.\n")


def _images(folder: Path | None) -> list[Path]:
    """The images of a folder; none without one."""
    found = [] if folder is None else [Path(source.path) for source in find_images([str(folder)])]
    if folder is not None and not found:
        msg = f"{str(folder)!r} contains no image."
        raise ValueError(msg)
    return found


def _text(share: Share) -> str:
    return f"{share.count} of {share.total} ({100 * share.rate:.1f} %)"
