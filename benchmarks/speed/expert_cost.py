# SPDX-License-Identifier: Apache-2.0
"""What the other methods and the Mahalanobis distance cost beside plain reverse distillation: step, latency and size.

    python -m benchmarks.speed.expert_cost [--backbone NAME] [--batch 16] [--turns 5] [--only "training step"]
    python -m benchmarks.speed.expert_cost table

Random images and weights, 256 x 256. The variants take turns within one process; a figure is the median of the turns.
"""

import argparse
import statistics
import time
from functools import partial
from typing import Any

import pandas as pd
import torch
from anomalib.data import ImageBatch, ImageItem
from anomalib.deploy import CompressionType
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader

from benchmarks.common import command
from benchmarks.common.grid import Cell, Row
from benchmarks.common.tables import Figure, table
from rd_plugin import ExpertReverseDistillation, FusedReverseDistillation, ReverseDistillation
from rd_plugin.models.distillation import Distillation
from rd_plugin.models.distillation.feature_cache import FeatureCacheType

from .deployed import give_range, latency, weight_size
from .timing import circumstances, each_machine

SIDE = 256
VARIANTS: dict[str, tuple[type[Distillation], dict[str, Any]]] = {
    "ReverseDistillation": (ReverseDistillation, {}),
    "with deviation mahalanobis": (ReverseDistillation, {"deviation": "mahalanobis"}),
    "expert, guided": (ExpertReverseDistillation, {"injection": "guided"}),
    "expert, unguided": (ExpertReverseDistillation, {"injection": "unguided"}),
    "expert, none": (ExpertReverseDistillation, {"injection": "none"}),
    "guided, teacher frozen": (ExpertReverseDistillation, {"injection": "guided", "train_teacher": False}),
    "fused": (FusedReverseDistillation, {}),
}
# What inference costs hangs on injection and deviation alone.
DEPLOYED = ("ReverseDistillation", "with deviation mahalanobis", "expert, guided", "expert, unguided", "fused")
STEPS = 3
CACHES: dict[FeatureCacheType, str] = {"off": "features computed", "memory": "features kept"}


def build(name: str, backbone: str, feature_cache: FeatureCacheType = "memory") -> Distillation:
    """Return a model with random weights, and a range and a threshold as after a training."""
    method, arguments = VARIANTS[name]
    model = method(
        backbone, pre_trained=False, evaluator=False, visualizer=False, feature_cache=feature_cache, **arguments
    )
    give_range(model)
    return model


class StepTimes(Callback):
    """Seconds of each training step but a run's first, which has features to compute that are kept then."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_batch_start(self, *args: Any) -> None:
        """Start the clock."""
        del args
        self.start = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Stop the clock."""
        del args
        if trainer.current_epoch > 0:
            self.seconds.append(time.perf_counter() - self.start)


def _fit(model: Distillation, loader: DataLoader, epochs: int, *callbacks: Callback) -> None:
    """Train without validation and without a file."""
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(model, loader, loader)


def _images(batch: int) -> DataLoader:
    """Random images, one batch of them."""
    items = [ImageItem(image=torch.randn(3, SIDE, SIDE), image_path=f"{index}.png") for index in range(batch)]
    return DataLoader(items, batch, collate_fn=ImageBatch.collate)


def training(backbone: str, batch: int, turns: int) -> list[Row]:
    """Return milliseconds of a training step, through Lightning, by column and variant."""
    models = {(name, cache): build(name, backbone, cache) for name in VARIANTS for cache in CACHES}
    loader = _images(batch)
    times = {name: StepTimes() for name in models}
    for _ in range(turns):
        for name, model in models.items():
            _fit(model, loader, 1 + STEPS, times[name])
    return [
        {
            "column": f"training step of {batch}, ms, {how}",
            "variant": name,
            "value": 1000 * statistics.median(times[name, cache].seconds),
        }
        for cache, how in CACHES.items()
        for name in VARIANTS
    ]


def deployed(backbone: str, batch: int) -> dict[str, Distillation]:
    """Return the models after a training step, from which those that compare have their statistics."""
    models = {name: build(name, backbone) for name in DEPLOYED}
    for model in models.values():
        _fit(model, _images(batch), epochs=1)
    return models


def latencies(backbone: str, batch: int, compression: str | None, turns: int) -> list[Row]:
    """Return milliseconds an image of the OpenVINO exports."""
    kind = CompressionType[compression] if compression else None
    models = {name: (model, kind) for name, model in deployed(backbone, batch).items()}
    column = f"OpenVINO {compression or 'float32'}, ms"
    return [{"column": column, "variant": name, "value": ms} for name, ms in latency(models, SIDE, 20 * turns).items()]


def weights(backbone: str, batch: int) -> list[Row]:
    """Return MiB of the weights."""
    return [
        {"column": "weights in a checkpoint, MiB", "variant": name, "value": weight_size(model)}
        for name, model in deployed(backbone, batch).items()
    ]


def grid(options: argparse.Namespace) -> list[Cell]:
    """Return a cell for each thing that is measured, in which the variants take turns."""
    backbone, batch, turns = options.backbone, options.batch, options.turns
    works = {
        "training step": partial(training, backbone, batch, turns),
        "OpenVINO float32": partial(latencies, backbone, batch, None, turns),
        "OpenVINO INT8_PTQ": partial(latencies, backbone, batch, "INT8_PTQ", turns),
        "weights": partial(weights, backbone, batch),
    }
    about = {"backbone": backbone, "batch": batch, "turns": turns, **circumstances(command.machine(options))}
    return [Cell({"what": name, **about}, name, work) for name, work in works.items()]


def show(rows: pd.DataFrame) -> str:
    """Return Markdown tables: a row for each variant, a column for what is measured."""
    rows = rows.sort_values("variant", key=lambda names: names.map([*VARIANTS].index), kind="stable")
    columns = list(dict.fromkeys(rows.sort_index()["column"]))

    def draw(found: pd.DataFrame) -> str:
        figures = {"": Figure("value", 1, deviation=None)}
        return table(found, {found["backbone"].iloc[0]: "variant"}, figures, "column", columns)

    return each_machine(rows, draw, "backbone", "batch", "turns")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if something could not be measured."""
    parser = command.build_parser("benchmarks.speed.expert_cost", __doc__, device="cpu")
    add = parser.add_argument
    add("--backbone", default="tf_efficientnet_lite0")
    add("--batch", type=int, default=16)
    add("--turns", type=int, default=5)
    return command.run(parser, parser.parse_args(arguments), grid, show)


if __name__ == "__main__":
    raise SystemExit(main())
