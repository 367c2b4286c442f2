# SPDX-License-Identifier: Apache-2.0
"""Accuracy, size and speed of OpenVINO exports of one checkpoint: float32, float16, int8 weights, int8.

    python -m benchmarks.speed.exports CHECKPOINT [--data CLASS]

Speed is the median over the test images, the models taking turns on each image, so that a slow moment of the machine
meets all of them.
"""

import argparse
import hashlib
import statistics
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from anomalib.deploy import CompressionType
from torchmetrics.functional.classification import binary_auroc

import rd_plugin
from benchmarks.common import command
from benchmarks.common.grid import Cell, Row
from benchmarks.common.tables import Figure, table
from benchmarks.common.trained import load_trained

from .deployed import compile_for_latency, export
from .timing import circumstances, each_machine, take_turns

COMPRESSIONS = {
    "float32": None,
    "FP16": CompressionType.FP16,
    "INT8 (weights)": CompressionType.INT8,
    "INT8_PTQ": CompressionType.INT8_PTQ,
}


def compute(checkpoint: Path, data: str) -> list[Row]:
    """Export a checkpoint once for each compression, and measure each on the test images."""
    datamodule = getattr(rd_plugin, data)(num_workers=0)
    datamodule.setup()
    with tempfile.TemporaryDirectory() as folder:
        paths = {
            name: export(load_trained(checkpoint), Path(folder) / name, compression, datamodule)
            for name, compression in COMPRESSIONS.items()
        }
        sizes = {name: path.with_suffix(".bin").stat().st_size / 2**20 for name, path in paths.items()}
        models = {name: compile_for_latency(path) for name, path in paths.items()}
    scores: dict[str, list[float]] = {name: [] for name in models}
    times: dict[str, list[float]] = {name: [] for name in models}
    labels = []

    def predict(name: str, image: np.ndarray) -> None:
        scores[name].append(float(models[name](image)["pred_score"].squeeze()))

    for index in range(len(datamodule.test_data)):
        item = datamodule.test_data[index]
        labels.append(int(item.gt_label))
        image = item.image[None].numpy()
        for name, (milliseconds,) in take_turns({name: partial(predict, name, image) for name in models}, 1).items():
            times[name].append(milliseconds)
    return [
        {
            "export": name,
            "image_AUROC": float(binary_auroc(torch.tensor(scores[name]), torch.tensor(labels))),
            "size": sizes[name],
            "milliseconds": statistics.median(times[name]),
        }
        for name in models
    ]


def grid(options: argparse.Namespace) -> list[Cell]:
    """Return the only cell: all exports take turns.

    Raises:
        ValueError: If there is no such checkpoint.
    """
    checkpoint = command.existing_file(options, "checkpoint")
    contents = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    settings = {"checkpoint": contents, "data": options.data, **circumstances(command.machine(options))}
    return [Cell(settings, checkpoint.stem, partial(compute, checkpoint, options.data))]


def show(rows: pd.DataFrame) -> str:
    """Return Markdown tables: a row for each export."""
    figures = {
        "image AUROC": Figure("image_AUROC", 4, deviation=None),
        "size, MiB": Figure("size", 1, deviation=None),
        "ms an image": Figure("milliseconds", 1, deviation=None),
    }
    return each_machine(rows, lambda found: table(found, {"export": "export"}, figures), "checkpoint", "data")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if it could not be measured."""
    parser = command.build_parser("benchmarks.speed.exports", __doc__, device="cpu")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", default="SolarCells", help="data module of rd_plugin (default: %(default)s)")
    return command.run(parser, parser.parse_args(arguments), grid, show)


if __name__ == "__main__":
    raise SystemExit(main())
