# SPDX-License-Identifier: Apache-2.0
"""What vision transformers cost as teachers: beside anomalib's own Dinomaly, and beside ResNets.

    python -m benchmarks.speed.transformers [--only NAME ...] [--turns 5] [--batch 4] [--calibration 8]
    python -m benchmarks.speed.transformers table

Random images and weights. Times are those of one processor core, in turns, so that it matters little what else the
machine does; ratios are more certain than times. Beside Dinomaly each side has a process of its own; a ratio above 1 is
in our favour.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
from anomalib.data import AnomalibDataModule
from anomalib.deploy import CompressionType
from lightning.pytorch.trainer.states import TrainerFn

from benchmarks.common import command
from benchmarks.common.grid import Cell, Row
from benchmarks.common.tables import Figure, table
from rd_plugin import SolarCells

from .comparison import compare, comparison_row, show_ratios
from .deployed import latency
from .teachers import SIDES, build, inference, inference_of, step_of, training_step
from .timing import circumstances, each_machine, take_turns

DINOMALY = ("vit_small_patch14_reg4_dinov2", 392)
TEACHERS = {
    "ResNet-18, 256 px": ("resnet18", 256),
    "WideResNet-50-2, 256 px": ("wide_resnet50_2", 256),
    "ViT-S/14, 252 px": ("vit_small_patch14_reg4_dinov2", 252),
    "ViT-S/14, 392 px": ("vit_small_patch14_reg4_dinov2", 392),
    "ViT-B/14, 392 px": ("vit_base_patch14_reg4_dinov2", 392),
}
CLOCK = time.process_time
# What the others are compared with.
BASE = next(iter(TEACHERS))


def _calibration(images: int) -> AnomalibDataModule:
    """A few solar cells; time does not depend on their number."""
    data = SolarCells(num_workers=0)
    data.prepare_data()
    data.setup(TrainerFn.FITTING)
    data.train_data.subsample(range(images), inplace=True)
    return data


def openvino_beside(backbone: str, size: int, turns: int) -> list[Row]:
    """Compare the OpenVINO exports in float32, one image."""
    models = {side: (build(name, backbone, size), None) for side, name in SIDES.items()}
    return [comparison_row("one image, OpenVINO float32", "ms", **latency(models, size, turns, clock=CLOCK))]


def one_image(turns: int) -> list[Row]:
    """Milliseconds of one image in torch, all teachers in turn."""
    tasks = {
        name: inference(build("ReverseDistillation", backbone, size), size, 1)
        for name, (backbone, size) in TEACHERS.items()
    }
    return _rows("one image, torch", _medians(tasks, turns))


def training_steps(turns: int, batch: int, kept: bool) -> list[Row]:
    """Milliseconds of a training step, all teachers in turn."""
    tasks = {
        name: training_step(build("ReverseDistillation", backbone, size), size, batch, kept)
        for name, (backbone, size) in TEACHERS.items()
    }
    return _rows(f"step of {batch}{', features kept' if kept else ''}", _medians(tasks, turns))


def exports(turns: int, compression: str | None, calibration: int) -> list[Row]:
    """Milliseconds of one image in OpenVINO, all teachers in turn."""
    kind = CompressionType[compression] if compression else None
    models = {name: (build("ReverseDistillation", *teacher), kind) for name, teacher in TEACHERS.items()}
    sizes = {name: size for name, (_, size) in TEACHERS.items()}
    return _rows(
        f"OpenVINO {compression or 'float32'}", latency(models, sizes, turns, _calibration(calibration), CLOCK)
    )


def _medians(tasks: dict[str, Callable[[], None]], turns: int) -> dict[str, float]:
    return {name: statistics.median(times) for name, times in take_turns(tasks, turns, 1, CLOCK).items()}


def _rows(column: str, times: dict[str, float]) -> list[Row]:
    return [{"column": column, "teacher": name, "ms": ms, "multiple": ms / times[BASE]} for name, ms in times.items()]


def grid(options: argparse.Namespace) -> list[Cell]:
    """Return a cell for each comparison."""
    machine, turns, batch = command.machine(options), options.turns, options.batch
    about = {"turns": turns, "clock": "processor", **circumstances(machine)}
    backbone, size = DINOMALY
    where = {"backbone": backbone, "size": size}
    beside: dict[str, tuple[dict[str, Any], Callable[[], list[Row]]]] = {}
    for kept in (False, True):
        what, how = f"step of {batch}{', features kept' if kept else ''}", {**where, "batch": batch, "kept": kept}
        beside[what] = (how, partial(compare, what, step_of, turns, 1, how, machine, CLOCK))
    how = {**where, "batch": 1}
    beside["one image, torch"] = (
        how,
        partial(compare, "one image, torch", inference_of, turns, 1, how, machine, CLOCK),
    )
    beside["one image, OpenVINO float32"] = (how, partial(openvino_beside, backbone, size, 2 * turns))
    alone: dict[str, tuple[dict[str, Any], Callable[[], list[Row]]]] = {
        "step": ({"batch": batch, "kept": False}, partial(training_steps, turns, batch, kept=False)),
        "step, features kept": ({"batch": batch, "kept": True}, partial(training_steps, turns, batch, kept=True)),
        "image": ({}, partial(one_image, turns)),
        "OpenVINO float32": ({}, partial(exports, turns, None, 1)),
        "OpenVINO INT8_PTQ": ({}, partial(exports, turns, "INT8_PTQ", options.calibration)),
    }
    return [
        Cell({"what": f"{group}/{what}", **how, **about}, f"{group}/{what}", work)
        for group, cells in (("dinomaly", beside), ("teachers", alone))
        for what, (how, work) in cells.items()
    ]


def show(rows: pd.DataFrame) -> str:
    """Return Markdown tables: one beside anomalib's Dinomaly, one of the teachers."""

    def draw(found: pd.DataFrame) -> str:
        texts = []
        if "row" in found and found["row"].notna().any():
            texts.append(show_ratios(found.dropna(subset="row")))
        if "column" in found and found["column"].notna().any():
            figures = {"ms": Figure("ms", 0, deviation=None), "times": Figure("multiple", 1, deviation=None)}
            texts.append(table(found.dropna(subset="column"), {"teacher": "teacher"}, figures, "column"))
        return "\n\n".join(texts)

    return each_machine(rows, draw, "turns")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if something could not be measured."""
    parser = command.build_parser("benchmarks.speed.transformers", __doc__, device="cpu")
    add = parser.add_argument
    add("--turns", type=int, default=5)
    add("--batch", type=int, default=4)
    add("--calibration", type=int, default=8, help="images that int8 is calibrated on, which time does not depend on")
    return command.run(parser, parser.parse_args(arguments), grid, show)


if __name__ == "__main__":
    raise SystemExit(main())
