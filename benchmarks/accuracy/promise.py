# SPDX-License-Identifier: Apache-2.0
"""How often the stated interval of the false-alarm rate holds for good images that nothing has seen.

    python -m benchmarks.accuracy.promise mono poly tiles [--root ROOT] [--seeds 0] [--steps 200] [--batch 16]
    python -m benchmarks.accuracy.promise table

Two thirds of the good training images, drawn by the seed, and all good test images are not trained on. Of these, 100
set the threshold in each of 200 random splits; the others are tested as they are, and under other light.
Runs leave records and are not repeated.
"""

from functools import partial
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from benchmarks.common import command
from benchmarks.common.grid import Machine, Row
from benchmarks.common.tables import Figure, table, varied
from rd_plugin.post_processor import false_alarm_threshold

from .suites import BuildData
from .thresholds import grid, score, train_on_rest

HELD_OUT = 2 / 3
RATES = (0.01, 0.05, 0.1)
SPLITS = 200
SETTING = 100
LIGHT = {
    "as they are": lambda images: images,
    "gain 0.85": lambda images: 0.85 * images,
    "gain 1.15": lambda images: (1.15 * images).clamp(max=1),
    "gamma 1.3": lambda images: images**1.3,
}


def evaluate(scores: dict[str, Tensor], seed: int) -> list[Row]:
    """Return the share of splits in whose interval the rate lies, and the rates, for each rate and light.

    Args:
        scores: Scores of the same good images, of shape ``(N,)``, under each light.
        seed: Decides the splits.
    """
    generator = torch.Generator().manual_seed(seed)
    count = len(scores["as they are"])
    splits = [torch.randperm(count, generator=generator).split([SETTING, count - SETTING]) for _ in range(SPLITS)]
    found: list[Row] = []
    for rate, (light, changed) in product(RATES, scores.items()):
        rates, inside = [], []
        for setting, others in splits:
            threshold, expected, (low, high) = false_alarm_threshold(scores["as they are"][setting], rate)
            rates.append(float((changed[others] > threshold).double().mean()))
            inside.append(low - 1e-9 <= rates[-1] <= high + 1e-9)
        mean = sum(rates) / SPLITS
        row = {"expected": expected, "low": low, "high": high, "reached": mean, "inside": sum(inside) / SPLITS}
        found.append({"rate": rate, "images": light, **row})
    return found


def compute(settings: dict[str, Any], build_data: BuildData, machine: Machine) -> list[Row]:
    """Train on a third of the good images, and evaluate the others in all splits."""
    model, datamodule = train_on_rest(settings, build_data, machine, HELD_OUT)
    scores = {}
    for light, change in LIGHT.items():
        held_out, _ = score(model, datamodule.val_data, change)
        test, defective = score(model, datamodule.test_data, change)
        scores[light] = torch.cat([held_out, test[~defective]])
    counts = {"count_train": len(datamodule.train_data), "unseen": len(scores["as they are"])}
    return [{**row, **counts} for row in evaluate(scores, settings["seed"])]


def show(rows: pd.DataFrame) -> str:
    """Return a Markdown table of records, seeds averaged."""
    rows = rows.assign(
        asked=[f"{100 * rate:g}" for rate in rows["rate"]],
        interval=[f"{100 * low:.0f} to {100 * high:.0f}" for low, high in zip(rows["low"], rows["high"], strict=True)],
    )
    by = {
        "data": "data",
        **varied(rows, "steps", "batch"),
        "rate asked for, %": "asked",
        "of 100 new images": "interval",
        "light": "images",
    }
    figures = {
        "rate reached, %": Figure("reached", 1, 100, deviation=None),
        "splits within, %": Figure("inside", 0, 100, deviation=None),
    }
    return table(rows, by, figures)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if a run has failed."""
    parser = command.build_parser("benchmarks.accuracy.promise", __doc__, ["mono", "poly", "tiles"])
    command.add_training_options(parser, seeds=[0], steps=200, batch=16)
    options = parser.parse_args(arguments)
    return command.run(parser, options, partial(grid, work=compute), show)


if __name__ == "__main__":
    raise SystemExit(main())
