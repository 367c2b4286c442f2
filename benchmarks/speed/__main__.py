# SPDX-License-Identifier: Apache-2.0
"""Speed, memory and size against anomalib's own reverse distillation.

    python -m benchmarks.speed [--device cpu|cuda] [--quick]
    python -m benchmarks.speed table

Same architecture, image size, batch and threads. anomalib builds the bottleneck of a wide ResNet half as wide inside
its blocks as the paper's authors do; rows that say "narrow embedding" compare with ours made so, the others with ours
as it is. Each side runs in a process of its own, set up as its package sets up a run, and the two take turns, so that a
slow moment of the machine meets both. A figure is
the median of the turns; a ratio above 1 is in our favour. Every comparison leaves a record, and is repeated only with
another torch or machine, or with ``--retry all``; its commit is in the record.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pandas as pd
from anomalib.deploy import CompressionType

from benchmarks.common import command
from benchmarks.common.grid import Cell, Machine, Row

from .comparison import compare, compare_times, comparison_row, show_ratios
from .deployed import latency, weight_size
from .sides import SIDE, anomaly_map, build_model, inference, map_difference, training_step
from .timing import circumstances, each_machine

# What a comparison is called, what its figures hang on, and what measures it.
Comparison = tuple[str, dict[str, Any], Callable[[], list[Row]]]


def compare_maps(*arguments: Any) -> list[Row]:
    """Compare times, and say by how much the maps differ."""
    return [{**row, "map_difference": map_difference()} for row in compare_times(*arguments)]


def sizes(backbone: str, name: str, *, narrow: bool) -> list[Row]:
    """Size of the weights that a checkpoint holds, and of an OpenVINO export in float32, both files together."""
    weights, exported = {}, {}
    for side in ("ours", "theirs"):
        model = build_model(side, backbone, narrow)
        weights[side] = weight_size(model)
        with tempfile.TemporaryDirectory() as folder:
            path = model.to_openvino(folder, input_size=(SIDE, SIDE), onnx_kwargs={"verbose": False})
            exported[side] = sum(path.with_suffix(suffix).stat().st_size for suffix in (".xml", ".bin")) / 2**10
    return [
        comparison_row(f"weights in a checkpoint, {name}", "MiB", **weights),
        comparison_row(f"OpenVINO export, {name}", "KiB", **exported),
    ]


def exports(turns: int) -> list[Row]:
    """Latency of OpenVINO exports, one image, all in one process and in turn."""
    int8 = CompressionType.INT8_PTQ
    models = {
        "theirs": (build_model("theirs", "resnet18"), None),
        "float32, resnet18": (build_model("ours", "resnet18"), None),
        "INT8_PTQ, resnet18": (build_model("ours", "resnet18"), int8),
        "INT8_PTQ, tf_efficientnet_lite0": (build_model("ours", "tf_efficientnet_lite0"), int8),
    }
    medians = latency(models, SIDE, 20 * turns)
    base = medians.pop("theirs")
    return [
        comparison_row(f"OpenVINO {name} (theirs: float32, resnet18)", "ms", ours, base)
        for name, ours in medians.items()
    ]


def training_comparisons(machine: Machine, turns: int, *, quick: bool) -> Iterator[Comparison]:
    """Time and peak memory of training steps, and size of the weights."""
    wide, batch = "wide_resnet50_2", 32 if machine.device == "cuda" else 4
    cases = [(f"{wide}, narrow embedding", wide, batch, True), (wide, wide, batch, False)]
    if machine.device == "cpu":
        cases = [("resnet18", "resnet18", 16, False), *([] if quick else cases)]
    mixed = ", kept features, ours in bfloat16"
    settings: dict[str, dict[str, Any]] = {
        "": {"cache": False},
        ", kept features": {"cache": True},
        mixed: {"cache": True, "mixed": True},
    }
    if machine.device == "cuda":
        settings[f"{mixed}, theirs without TF32"] = {**settings[mixed], "tf32": False}
    for name, backbone, batch, narrow in cases:
        for setting, how in settings.items():
            what = f"training step, {name}, batch {batch}{setting}"
            how = {**how, "backbone": backbone, "batch": batch, "narrow": narrow}
            yield what, how, partial(compare, what, training_step, turns, 1, how, machine)
        yield f"sizes, {name}", {"backbone": backbone}, partial(sizes, backbone, name, narrow=narrow)


def inference_comparisons(machine: Machine, turns: int) -> Iterator[Comparison]:
    """Time of maps, of inference in PyTorch and, on a CPU, in OpenVINO."""
    what, how = "anomaly map, 1 thread, batch 8", {"batch": 8}
    yield what, how, partial(compare_maps, what, anomaly_map, turns, 5, how, machine)
    for batch in (1, 8):
        what, how = f"eager inference, resnet18, batch {batch}", {"backbone": "resnet18", "batch": batch}
        yield what, how, partial(compare_times, what, inference, turns, 5, how, machine)
    if machine.device == "cpu":
        yield "OpenVINO", {}, partial(exports, turns)


def grid(options: argparse.Namespace) -> list[Cell]:
    """Return a cell for each comparison."""
    machine, turns = command.machine(options), 3 if options.quick else 7
    about = {"turns": turns, **circumstances(machine)}
    return [
        Cell({"what": what, **how, **about}, what, work)
        for comparisons in (
            training_comparisons(machine, turns, quick=options.quick),
            inference_comparisons(machine, turns),
        )
        for what, how, work in comparisons
    ]


def show(rows: pd.DataFrame) -> str:
    """Return Markdown tables: a row for each comparison."""

    def draw(found: pd.DataFrame) -> str:
        differences = found["map_difference"].dropna() if "map_difference" in found else []
        return show_ratios(found) + "".join(f"\n\nMaps differ by {each:.1e} at most." for each in differences)

    return each_machine(rows, draw, "turns")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if something could not be measured."""
    parser = command.build_parser("benchmarks.speed", __doc__, device="cpu")
    parser.add_argument("--quick", action="store_true", help="fewer turns, and no wide network on a CPU")
    return command.run(parser, parser.parse_args(arguments), grid, show)


if __name__ == "__main__":
    raise SystemExit(main())
