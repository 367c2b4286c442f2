# SPDX-License-Identifier: Apache-2.0
"""What reverse distillation costs with larger images.

    python -m benchmarks.speed.image_size [--sizes 128 256 384 512]
    python -m benchmarks.speed.image_size table

A training step of 8 images and inference of one, EfficientNet-Lite0; how many training images' features 2 GiB hold, and
what a step costs where they are kept. Random images and weights; medians, all sizes in turns.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import pandas as pd
import torch

from benchmarks.common import command
from benchmarks.common.grid import Cell, Row
from benchmarks.common.tables import Figure, table
from benchmarks.common.training import TEACHER
from rd_plugin import ReverseDistillation
from rd_plugin.models.distillation.feature_cache import FeatureCache, FeatureCacheType

from .timing import circumstances, each_machine, take_turns

BATCH = 8
BUDGET = 2 * 2**30
TURNS = 5
TASKS = ("off", "memory", "disk", "inference")


def training_step(model: ReverseDistillation, images: torch.Tensor, kind: FeatureCacheType) -> Callable[[], None]:
    """A step of training with features kept in a place."""
    optimizer = model.configure_optimizers()
    cache = FeatureCache(model.model.teacher, kind, BUDGET, len(images))
    names = [str(index) for index in range(len(images))]

    def step() -> None:
        optimizer.zero_grad()
        model.loss(*model.model.distill_features(cache(images, names))).backward()
        optimizer.step()

    return step


def inference(model: ReverseDistillation, images: torch.Tensor) -> Callable[[], None]:
    """Map and score of one image."""

    def run() -> None:
        model.eval()
        with torch.inference_mode():
            model.model(images[:1])
        model.train()

    return run


def compute(sizes: list[int]) -> list[Row]:
    """Return a row for each size: milliseconds of each task, and the count of an image's feature values."""
    tasks: dict[tuple[int, str], Callable[[], None]] = {}
    numbers = {}
    for size in sizes:
        model = ReverseDistillation(TEACHER["backbone"], pre_trained=False, visualizer=False).train()
        images = torch.randn(BATCH, 3, size, size)
        numbers[size] = sum(feature[0].numel() for feature in model.model.teacher(images[:1]))
        for kind in ("off", "memory", "disk"):
            tasks[size, kind] = training_step(model, images, kind)
        tasks[size, "inference"] = inference(model, images)
    times = take_turns(tasks, TURNS, warm_up=1)
    return [
        {"size": size, **{task: statistics.median(times[size, task]) for task in TASKS}, "numbers": numbers[size]}
        for size in sizes
    ]


def grid(options: argparse.Namespace) -> list[Cell]:
    """Return the only cell: all sizes take turns."""
    settings = {"sizes": options.sizes, "batch": BATCH, "turns": TURNS, **circumstances(command.machine(options))}
    return [Cell(settings, "sizes", partial(compute, options.sizes))]


def show(rows: pd.DataFrame) -> str:
    """Return Markdown tables: a row for each size."""
    titles = dict(zip(TASKS, ("step, ms", "features in memory", "on disk", "inference, ms"), strict=True))
    figures = {title: Figure(task, 0) for task, title in titles.items()}
    for width, title in ((4, "images in 2 GiB, full precision"), (2, "half precision")):
        rows = rows.assign(**{title: BUDGET // (rows["numbers"] * width)})
        figures[title] = Figure(title, 0, sign=",")
    return each_machine(rows, lambda found: table(found, {"size": "size"}, figures))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if it could not be measured."""
    parser = command.build_parser("benchmarks.speed.image_size", __doc__, device="cpu")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 384, 512])
    return command.run(parser, parser.parse_args(arguments), grid, show)


if __name__ == "__main__":
    raise SystemExit(main())
