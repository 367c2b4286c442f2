# SPDX-License-Identifier: Apache-2.0
"""How often drift is reported where there is none, and after how many images where there is.

    python -m benchmarks.accuracy.drift mono poly tiles [--root ROOT] [--seeds 0] [--runs 200]
    python -m benchmarks.accuracy.drift table

No model is trained: what is compared is what images look like. In each of 200 runs, 256 good images drawn at random are
the reference, and 100 others come in one by one, as they are or all changed in one way. The last row compares the
good test images with the training images instead. Runs leave records and are not repeated.
"""

import argparse
import io
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.common import command
from benchmarks.common.grid import Cell, Row
from benchmarks.common.tables import Figure, table, varied
from rd_plugin.data.check import read_file
from rd_plugin.drift import DriftMonitor, Reference, image_statistics

from .suites import BuildData, study_data

KNOWN, COMING = 256, 100
# Images of a kind, at most.
IMAGES = 400
LOOKS = (25, 50, 100)
# Runs of changed images: what they come to is clear sooner than a false-alarm rate.
CHANGED_RUNS = 20
# What other images the type of a data set is told from.
OTHERS = {"mono": "poly", "poly": "mono", "tiles": "mono"}

Change = Callable[[np.ndarray], np.ndarray]


def _scaled(image: np.ndarray, gain: float, gamma: float) -> np.ndarray:
    return np.clip(np.round(255 * gain * (image / 255) ** gamma), 0, 255).astype(np.uint8)


def _shifted(image: np.ndarray, pixels: int) -> np.ndarray:
    margins = ((pixels, 0), (pixels, 0), (0, 0))
    return np.ascontiguousarray(np.pad(image, margins, mode="reflect")[: image.shape[0], : image.shape[1]])


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _noisy(image: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(int(image.sum())).normal(0, deviation, image.shape)
    return np.clip(np.round(image + noise), 0, 255).astype(np.uint8)


CHANGES: dict[str, Change] = {
    "gain 0.85": partial(_scaled, gain=0.85, gamma=1),
    "gain 0.95": partial(_scaled, gain=0.95, gamma=1),
    "gain 1.15": partial(_scaled, gain=1.15, gamma=1),
    "gamma 1.3": partial(_scaled, gain=1, gamma=1.3),
    "blur of 2 pixels": lambda image: cv2.GaussianBlur(image, (0, 0), 2),
    "blur of 0.5 pixels": lambda image: cv2.GaussianBlur(image, (0, 0), 0.5),
    "shift of 4 pixels": partial(_shifted, pixels=4),
    "JPEG 60": partial(_compressed, quality=60),
    "noise of 0.02": partial(_noisy, deviation=0.02 * 255),
}


def describe(paths: Sequence[str], change: Change = lambda image: image) -> np.ndarray:
    """Return statistics of files, of shape ``(N, 15)``, each changed before it is looked at."""
    return np.stack([image_statistics(change(np.asarray(read_file(path)[1]))) for path in paths])


def first_alarm(known: np.ndarray, coming: np.ndarray, window: int | None = None) -> int | None:
    """Return after how many images a run alarms; ``None`` if it does not."""
    monitor = DriftMonitor(Reference(known), window)
    return next((count for count, image in enumerate(coming, 1) if monitor.add(image, 0.0)), None)


def shares(alarms: Sequence[int | None]) -> dict[str, float]:
    """Return the share of runs that have alarmed within as many images."""
    return {
        f"within_{count}": sum(alarm is not None and alarm <= count for alarm in alarms) / len(alarms)
        for count in LOOKS
    }


def compute(settings: dict[str, Any], build_data: BuildData, build_others: BuildData) -> list[Row]:
    """Describe all images, and let runs come in."""
    rng = np.random.default_rng(settings["seed"])
    datamodule, others = build_data(), build_others()
    for module in (datamodule, others):
        module.prepare_data()
        module.setup()

    def draw(paths: Sequence[str]) -> list[str]:
        return [paths[index] for index in rng.permutation(len(paths))[:IMAGES]]

    test = datamodule.test_data.samples
    trained = draw(list(datamodule.train_data.samples["image_path"]))
    tested = draw(list(test["image_path"][test["label_index"] == 0]))
    paths = draw([*trained, *tested])
    images = {"as they are": describe(paths), **{name: describe(paths, CHANGES[name]) for name in CHANGES}}
    other = describe(draw(list(others.train_data.samples["image_path"]))[:COMING])
    defects = describe(draw(list(test["image_path"][test["label_index"] == 1]))[:COMING])
    alarms: dict[str, list[int | None]] = {}
    for run in range(settings["runs"]):
        order = rng.permutation(len(paths))
        good = images["as they are"]
        known, coming = good[order[:KNOWN]], order[KNOWN : KNOWN + COMING]
        alarms.setdefault("as they are", []).append(first_alarm(known, good[coming]))
        alarms.setdefault("as they are, window of 50", []).append(first_alarm(known, good[coming], 50))
        if run >= CHANGED_RUNS:
            continue
        for name in CHANGES:
            alarms.setdefault(name, []).append(first_alarm(known, images[name][coming]))
        alarms.setdefault(f"{OTHERS[settings['data']]} cells", []).append(first_alarm(known, rng.permutation(other)))
        mixed = good[coming].copy()
        mixed[::10] = rng.permutation(defects)[: len(mixed[::10])]
        alarms.setdefault("every tenth a defect", []).append(first_alarm(known, mixed))
    split = dict(zip(paths, images["as they are"], strict=True))
    known, held_out = (np.stack([split[path] for path in part if path in split]) for part in (trained, tested))
    alarms["good test images"] = [
        first_alarm(rng.permutation(known)[:KNOWN], rng.permutation(held_out)[:COMING]) for _ in range(CHANGED_RUNS)
    ]
    return [{"images": name, **shares(found), "count": len(paths)} for name, found in alarms.items()]


def grid(options: argparse.Namespace) -> list[Cell]:
    """Return the cells: seed x data."""
    cells = []
    for seed, data in product(options.seeds, options.what):
        settings = {"data": data, "seed": seed, "runs": options.runs}
        own, others = (study_data(name, options.root) for name in (data, OTHERS[data]))
        cells.append(Cell(settings, f"{data}/{seed}", partial(compute, settings, own, others)))
    return cells


def show(rows: pd.DataFrame) -> str:
    """Return a Markdown table of records, seeds averaged."""
    by = {"data": "data", **varied(rows, "runs"), "images that come in": "images"}
    figures = {f"alarmed within {count}, %": Figure(f"within_{count}", 1, 100, deviation=None) for count in LOOKS}
    return table(rows, by, figures)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if a run has failed."""
    parser = command.build_parser("benchmarks.accuracy.drift", __doc__, ["mono", "poly", "tiles"], device="cpu")
    add = parser.add_argument
    add("--root", type=Path, help="where the tiles are")
    add("--seeds", type=int, nargs="+", default=[0], help="(default: %(default)s)")
    add("--runs", type=int, default=200, help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    return command.run(parser, options, grid, show)


if __name__ == "__main__":
    raise SystemExit(main())
