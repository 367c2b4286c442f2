# SPDX-License-Identifier: Apache-2.0
"""What correcting false alarms does: ``rd-plugin update`` with another kind of part, or under other lighting.

    python -m benchmarks.accuracy.update [--models FusedReverseDistillation ...] [--steps 100] [--image-size 256]
    python -m benchmarks.accuracy.update table

A model is trained on monocrystalline cells, and is given 30 good images: polycrystalline cells, or monocrystalline ones
at 0.85 of their brightness. Counted before and after: false alarms on others of their kind, false alarms on good
monocrystalline cells, and defects found of monocrystalline cells. The update sees none of these. It sets the threshold
on the 30 and on the cells that the training held out for it, and never sees a defect.
"""

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from anomalib.engine import Engine
from lightning import seed_everything
from PIL import Image, ImageEnhance

from benchmarks.common import command
from benchmarks.common.grid import Cell, Machine, Row
from benchmarks.common.tables import Figure, table, varied
from benchmarks.common.training import TEACHER
from rd_plugin import SolarCells
from rd_plugin.comparison import methods
from rd_plugin.feedback import update_model
from rd_plugin.inspection import Inspector

_NEW, _OTHERS, _GAIN = 30, 200, 0.85
KINDS = ("poly cells", f"mono cells at {_GAIN} of their brightness")


def _files(data: SolarCells, split: str, label: int) -> list[Path]:
    """Images of a split with a label."""
    samples = getattr(data, f"{split}_data").samples
    return [Path(path) for path in samples["image_path"][samples["label_index"] == label]]


def _drawn(kind: str, data: SolarCells, seed: int, folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Images to learn, others of their kind, and good monocrystalline cells that are in neither."""
    good = _files(data, "test", 0)
    if kind == KINDS[0]:
        poly = SolarCells("poly", seed=seed)
        poly.setup()
        found = [path for split in ("train", "val", "test") for path in _files(poly, split, 0)]
        found = pd.Series(sorted(found)).sample(frac=1, random_state=seed).tolist()
        return found[:_NEW], found[_NEW : _NEW + _OTHERS], good
    darker = []
    for path in good:
        darker.append(folder / path.name)
        with Image.open(path) as image:
            ImageEnhance.Brightness(image.convert("RGB")).enhance(_GAIN).save(darker[-1])
    return darker[:_NEW], darker[_NEW:], good[_NEW:]


def _anomalous(model: Path, paths: Sequence[Path]) -> int:
    """How many images a model calls anomalous."""
    return sum(result.verdict == "anomalous" for result in Inspector(model)([str(path) for path in paths]))


def compute(settings: dict[str, Any], machine: Machine) -> list[Row]:
    """Train a model, update it with images of each kind, and count before and after."""
    seed_everything(settings["seed"], verbose=False)
    data = SolarCells("mono", seed=settings["seed"], num_workers=machine.workers)
    model = methods.find(settings["model"])(
        **TEACHER, image_size=settings["image_size"], visualizer=False, evaluator=False, report=False
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        engine = Engine(
            default_root_dir=folder,
            logger=False,
            accelerator=machine.accelerator,
            max_steps=settings["steps"],
            enable_progress_bar=False,
        )
        engine.fit(model, datamodule=data)
        before = Path(engine.best_model_path)
        defects = _files(data, "test", 1)
        training = [*_files(data, "train", 0), *_files(data, "val", 0)]
        rows = []
        for kind in KINDS:
            new, others, good = _drawn(kind, data, settings["seed"], folder)
            after = folder / "after.ckpt"
            done = update_model(before, after, new, training=training, tolerate=1, overwrite=True)
            row: Row = {"new": kind, "learned": done.learned}
            for name, images in (("others", others), ("good", good), ("defects", defects)):
                row |= {f"{when}_{name}": _anomalous(path, images) for when, path in (("b", before), ("a", after))}
                row[f"n_{name}"] = len(images)
            rows.append(row)
    return rows


def grid(options: argparse.Namespace) -> list[Cell]:
    """Return the cells: seed x model."""
    machine = command.machine(options)
    cells = []
    for seed, model in product(options.seeds, options.models):
        settings = {"model": model, "seed": seed, "steps": options.steps, "image_size": options.image_size}
        cells.append(Cell(settings, f"{model}/{seed}", partial(compute, settings, machine)))
    return cells


def show(rows: pd.DataFrame) -> str:
    """Return a Markdown table of records."""
    titles = {"others": "false alarms on others of their kind", "good": "on mono cells", "defects": "defects found"}
    for name, title in titles.items():
        rows[title] = [
            f"{row[f'b_{name}']:.0f} and {row[f'a_{name}']:.0f} of {row[f'n_{name}']:.0f}" for _, row in rows.iterrows()
        ]
    by = {"model": "model", **varied(rows, "steps", "image_size", "seed"), "30 new good images": "new"}
    return table(rows, by, {title: Figure(title) for title in titles.values()})


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if a run has failed."""
    parser = command.build_parser("benchmarks.accuracy.update", __doc__, device="cpu")
    command.add_training_options(parser, seeds=[0], steps=100, image_size=256)
    add = parser.add_argument
    add("--models", nargs="+", default=["FusedReverseDistillation"], help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    return command.run(parser, options, grid, show)


if __name__ == "__main__":
    raise SystemExit(main())
