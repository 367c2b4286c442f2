# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin threshold``: a new threshold for a trained model, without training."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from rd_plugin.data.check import MAX_PIXELS
from rd_plugin.inspection import Inspector
from rd_plugin.results import Share, straighten

if TYPE_CHECKING:
    from rd_plugin.thresholds import Choice
    from rd_plugin.thresholds.choice import Measured

__all__ = ["add_arguments", "add_output_arguments", "run"]

_RATES = (0.001, 0.01, 0.05)
_TABLE = "  {:<14}  {:>9}  {:<38}  {}\n"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments."""
    add: Any = parser.add_argument
    add("model", metavar="MODEL", type=Path, help="checkpoint (.ckpt), or export for OpenVINO, ONNX or torch")
    add("--good", metavar="FOLDER", type=Path, help="new good images; the threshold is that of a false-alarm rate")
    add("--rate", type=float, default=0.01, help="the false-alarm rate: the share of new good images above it")
    add("--defect", metavar="FOLDER", type=Path, help="images of defects, which are only counted")
    add("--value", type=float, help="the threshold by hand: a score of the current model")
    add("--part", metavar="NAME", type=str | None, help="the part that gets it, for a checkpoint of several parts")
    add_output_arguments(parser, "_threshold")


def add_output_arguments(parser: ArgumentParser, ending: str) -> None:
    """Add the arguments of a subcommand that reads images and writes a new model.

    Args:
        parser: The subcommand's parser.
        ending: What the new model's name gets by default.
    """
    add: Any = parser.add_argument
    add("--output", metavar="FILE", type=Path, help=f"the new model, by default MODEL with {ending} in its name")
    add("--overwrite", action="store_true", help="replace the new model if it exists, even if it is MODEL itself")
    add("--max_pixels", type=PositiveInt, default=MAX_PIXELS, help="maximum number in an image")
    add("--threads", type=PositiveInt | None, help="number of threads of the model; all cores by default")


def run(arguments: Namespace) -> None:
    """Choose a threshold, print what to expect of it, and write the model.

    Raises:
        OSError: If a file does not exist, exists already, or cannot be written.
        ValueError: If an argument, an image or the model cannot be used.
    """
    # The help does not wait for torch.
    from rd_plugin.thresholds import choose, measure, with_threshold, write_threshold

    if (arguments.good is None) == (arguments.value is None):
        msg = "give good FOLDER, whose scores set the threshold, or value, the threshold by hand; one of them."
        raise ValueError(msg)
    model: Path = arguments.model
    output = arguments.output or model.with_name(f"{model.stem}_threshold{model.suffix}")
    if output.exists() and not arguments.overwrite:
        msg = f"output {str(output)!r} exists already: give another --output, or --overwrite."
        raise FileExistsError(msg)
    part: str | None = arguments.part
    with with_threshold(model, part) as scaled:
        inspector = Inspector(
            scaled, max_pixels=arguments.max_pixels, threads=arguments.threads, unclipped=True, part=part
        )
        defects = None if arguments.defect is None else measure(inspector, [arguments.defect])
        how: dict[str, Any] = {}
        if arguments.value is None:
            good = measure(inspector, [arguments.good])
            chosen = choose(arguments.rate, good, defects)
            rows = [choose(rate, good, defects) for rate in sorted({*_RATES, arguments.rate})]
            how = {"rate": arguments.rate, "good": str(arguments.good), "good_images": len(good.scores)}
        else:
            chosen = _by_hand(arguments.value, defects)
            rows = [chosen]
        written = write_threshold(scaled, output, chosen.image, chosen.pixel, how, arguments.overwrite, part)
    threshold = inspector.inferencer.threshold if scaled == model else None
    sys.stdout.write("".join(_lines(rows, chosen, threshold)))
    sys.stdout.write(f"\n{written} written: score {chosen.image:.4f} of {model.name} is its threshold.\n")


def _by_hand(value: float, defects: "Measured | None") -> "Choice":
    """A threshold by hand."""
    from rd_plugin.thresholds import Choice

    found = None if defects is None else Share(int((defects.scores > value).sum()), len(defects.scores))
    return Choice(None, value, value, found=found)


def _lines(rows: "Sequence[Choice]", chosen: "Choice", threshold: float | None) -> list[str]:
    """The table; ``threshold`` is the present one, if the model has any."""
    head = _TABLE.format("rate", "threshold", "false alarms to expect of 100", "defects found")
    lines = [head]
    for row in rows:
        rate = "by hand" if row.rate is None else f"{100 * row.rate:g} %"
        expected = "unknown without good images"
        if row.expected is not None and row.interval is not None:
            low, high = (100 * bound for bound in row.interval)
            expected = f"{100 * row.expected:.2g} (between {low:.0f} and {high:.0f} with 95 %)"
        mark = " *" if row == chosen else ""
        lines.append(_TABLE.format(rate + mark, f"{row.image:.4f}", expected, row.found or "-"))
    if threshold is None:
        lines.append("  * the threshold; the model had none\n")
    else:
        factor = straighten(chosen.image) / straighten(threshold)
        lines.append(f"  * the new threshold, {factor:.3g} times the current one on the linear scale\n")
    return lines
