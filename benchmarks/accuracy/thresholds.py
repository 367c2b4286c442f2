# SPDX-License-Identifier: Apache-2.0
"""Thresholds from good images alone, against the threshold that is best on images with defects.

    python -m benchmarks.accuracy.thresholds solar|tiles [--root ROOT] [--seeds 0 1 2] [--steps 300] [--batch 8]
    python -m benchmarks.accuracy.thresholds table

A fifth of the training images, drawn by the seed, is held out and not trained on. From their scores come thresholds
for several false-alarm rates; from those of anomalib's synthetic anomalies on half of them the threshold of best F1.
The F1 threshold that has seen defects is set on one half of the test images, in 20 random halvings; every threshold is
evaluated on the other halves. Runs leave records and are not repeated.
"""

import argparse
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import pandas as pd
import torch
from anomalib.data import AnomalibDataModule, AnomalibDataset
from anomalib.data.utils import ValSplitMode
from anomalib.data.utils.synthetic import SyntheticAnomalyDataset
from anomalib.metrics.threshold.f1_adaptive_threshold import _F1AdaptiveThreshold as F1AdaptiveThreshold
from lightning import seed_everything
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import binary_auroc

from benchmarks.common import command
from benchmarks.common.grid import Cell, Machine, Row
from benchmarks.common.tables import Figure, table, varied
from benchmarks.common.training import TEACHER, fit
from rd_plugin import ReverseDistillation
from rd_plugin.models.distillation import Distillation
from rd_plugin.post_processor import false_alarm_threshold

from .suites import BuildData, study_data

HELD_OUT = 0.2
RATES = (0.01, 0.02, 0.05, 0.1)
HALVINGS = 20


@torch.inference_mode()
def score(
    model: Distillation, dataset: AnomalibDataset, change: Callable[[Tensor], Tensor] = lambda images: images
) -> tuple[Tensor, Tensor]:
    """Return the image scores of a data set before normalization, and its labels, both of shape ``(N,)``.

    Args:
        model: A trained model.
        dataset: The images.
        change: What becomes of images of shape ``(N, 3, H, W)`` in [0, 1] before the model gets them.
    """
    model.eval()
    scores, labels = [], []
    for batch in DataLoader(dataset, batch_size=16, collate_fn=dataset.collate_fn):
        scores.append(model.model(model.pre_processor.transform(change(batch.image))).pred_score.flatten())
        labels.append(batch.gt_label.bool())
    return torch.cat(scores), torch.cat(labels)


def best_f1(scores: Tensor, labels: Tensor) -> float:
    """Return the threshold at which F1 is best, as anomalib sets it."""
    metric = F1AdaptiveThreshold()
    metric.update(scores, labels.int())
    return float(metric.compute())


def halvings(labels: Tensor, seed: int) -> list[Tensor]:
    """Return random halves of the good and of the defective images, as masks of shape ``(N,)``."""
    generator = torch.Generator().manual_seed(seed)
    halves = []
    for _ in range(HALVINGS):
        half = torch.zeros_like(labels)
        for kind in (labels, ~labels):
            indices = kind.nonzero().flatten()
            half[indices[torch.randperm(len(indices), generator=generator)[: len(indices) // 2]]] = True
        halves.append(half)
    return halves


def evaluate(model: Distillation, datamodule: AnomalibDataModule, seed: int) -> list[Row]:
    """Set all thresholds, and return what each of them calls anomalous on the halves that evaluate it."""
    good, _ = score(model, datamodule.val_data)
    synthetic = best_f1(*score(model, SyntheticAnomalyDataset.from_dataset(datamodule.val_data)))
    scores, labels = score(model, datamodule.test_data)
    halves = halvings(labels, seed)
    thresholds: dict[str, list[float]] = {}
    stated: dict[str, Row] = {}
    for rate in RATES:
        threshold, expected, (low, high) = false_alarm_threshold(good, rate)
        thresholds[f"rate {rate:g}"] = [float(threshold)] * HALVINGS
        stated[f"rate {rate:g}"] = {"expected": expected, "low": low, "high": high}
    thresholds["F1, synthetic anomalies"] = [synthetic] * HALVINGS
    thresholds["F1, defects"] = [best_f1(scores[half], labels[half]) for half in halves]
    counts = {"held_out": len(good), "test_good": int((~labels).sum()), "test_defective": int(labels.sum())}
    common = {**counts, "image_AUROC": float(binary_auroc(scores, labels))}
    rows = []
    for name, values in thresholds.items():
        called = [(scores[~half] > value, labels[~half].bool()) for half, value in zip(halves, values, strict=True)]
        reached = {
            "false_alarms": [float(anomalous[~defect].float().mean()) for anomalous, defect in called],
            "detections": [float(anomalous[defect].float().mean()) for anomalous, defect in called],
        }
        rows.append({"threshold": name, **reached, **stated.get(name, {}), **common})
    return rows


def train_on_rest(
    settings: dict[str, Any], build_data: BuildData, machine: Machine, held_out: float
) -> tuple[Distillation, AnomalibDataModule]:
    """Train on what is left of the training images, and return the model and the data.

    Args:
        settings: The cell's: seed, batch and steps.
        build_data: What builds the data.
        machine: What it runs on.
        held_out: Share of the training images that become the validation set, drawn by the seed.
    """
    seed_everything(settings["seed"], verbose=False)
    datamodule = build_data(train_batch_size=settings["batch"], eval_batch_size=16, num_workers=machine.workers)
    datamodule.val_split_mode, datamodule.val_split_ratio = ValSplitMode.FROM_TRAIN, held_out
    datamodule.seed = settings["seed"]
    datamodule.prepare_data()
    datamodule.setup()
    model = ReverseDistillation(**TEACHER, visualizer=False, on_bad_data="off")
    fit(model, datamodule, accelerator=machine.accelerator, max_steps=settings["steps"])
    return model.cpu(), datamodule


def compute(settings: dict[str, Any], build_data: BuildData, machine: Machine) -> list[Row]:
    """Train on four fifths of the images, and set and evaluate all thresholds."""
    return evaluate(*train_on_rest(settings, build_data, machine, HELD_OUT), settings["seed"])


def grid(options: argparse.Namespace, work: Callable[..., list[Row]] = compute) -> list[Cell]:
    """Return the cells: seed x data.

    Args:
        options: What was asked for.
        work: Computes a cell, as :func:`compute` does.
    """
    machine = command.machine(options)
    cells = []
    for seed, data in product(options.seeds, options.what):
        settings = {"data": data, "seed": seed, "steps": options.steps, "batch": options.batch}
        run = partial(work, settings, study_data(data, options.root), machine)
        cells.append(Cell(settings, f"{data}/{seed}", run))
    return cells


def show(rows: pd.DataFrame) -> str:
    """Return a Markdown table of records: mean and standard deviation over seeds and halves."""
    more = varied(rows, "steps", "batch")
    rows = rows.assign(
        seeds=rows.groupby(["data", *more])["seed"].transform("nunique"),
        interval=[
            "" if pd.isna(low) else f"{100 * low:.0f} to {100 * high:.0f}"
            for low, high in zip(rows["low"], rows["high"], strict=True)
        ],
    ).explode(["false_alarms", "detections"])
    by = {"data": "data", **more, "good images held out": "held_out", "seeds": "seeds", "threshold from": "threshold"}
    figures = {
        "false alarms expected, %": Figure("expected", 1, 100, deviation=None),
        "of 100 new images": Figure("interval"),
        "false alarms, %": Figure("false_alarms", 1, 100),
        "detections, %": Figure("detections", 1, 100),
    }
    return table(rows, by, figures)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if a run has failed."""
    parser = command.build_parser("benchmarks.accuracy.thresholds", __doc__, ["solar", "tiles"])
    command.add_training_options(parser, seeds=[0, 1, 2], steps=300, batch=8)
    options = parser.parse_args(arguments)
    return command.run(parser, options, grid, show)


if __name__ == "__main__":
    raise SystemExit(main())
