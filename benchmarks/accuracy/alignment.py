# SPDX-License-Identifier: Apache-2.0
"""What a shift of the part costs, with an alignment and without.

    python -m benchmarks.accuracy.alignment mono poly [--steps 200] [--shifts 0 4 12] [--seeds 0] [--turned]
    python -m benchmarks.accuracy.alignment table

``FusedReverseDistillation`` is trained on images as they are, and tested on images that are moved to the right and
down; what comes in is the mirror image. With ``--turned``, each image is turned by an angle of its own, for training
and test. Runs leave records and are not repeated.
"""

import argparse
import time
from functools import partial
from itertools import product
from typing import Any

import pandas as pd
import torch
from anomalib.data.utils import LabelName
from lightning import seed_everything
from lightning.pytorch.trainer.states import TrainerFn
from torchvision.transforms.v2 import Compose

from benchmarks.common import command
from benchmarks.common.grid import Cell, Machine, Row
from benchmarks.common.tables import Figure, table
from benchmarks.common.training import TEACHER, fit
from rd_plugin import FusedReverseDistillation
from rd_plugin.comparison import area_under_roc

from .perturbations import Shifted, Turned, take
from .suites import BuildData, study_data

DATA = ("mono", "poly", "tiles")
_BATCH = 16


@torch.inference_mode()
def evaluate(model: FusedReverseDistillation, datamodule: Any, device: str) -> Row:
    """Return the image AUROC, the share of good images that are registered, and the time of an image."""
    model.eval().to(device)
    scores, labels, registered = [], [], []
    start = time.process_time()
    for batch in datamodule.test_dataloader():
        found = model.model(model.pre_processor.transform(batch.image.to(device)))
        scores.append(found.pred_score.flatten().cpu())
        labels.append(batch.gt_label.bool())
        if model.model.alignment is not None:
            registered.append(found.registration[:, 0].cpu())
    truth = torch.cat(labels)
    good = [] if not registered else torch.cat(registered)[~truth].tolist()
    return {
        "image_AUROC": float(area_under_roc(torch.cat(scores), truth)),
        "registered": sum(good) / len(good) if good else None,
        "count": len(truth),
        "cpu_ms": 1000 * (time.process_time() - start) / len(truth),
    }


def compute(settings: dict[str, Any], build_data: BuildData, machine: Machine) -> list[Row]:
    """Train, and test under each shift."""
    seed_everything(settings["seed"], verbose=False)
    turned = Turned("black") if settings["turned"] else None
    datamodule = build_data(
        train_batch_size=_BATCH, eval_batch_size=_BATCH, num_workers=machine.workers, augmentations=turned
    )
    datamodule.prepare_data()
    datamodule.setup(TrainerFn.FITTING)
    if settings["train_images"]:
        take(datamodule, settings["train_images"], settings["seed"])
    model = FusedReverseDistillation(
        **TEACHER, align=settings["align"], image_size=settings["image_size"], visualizer=False
    )
    fit(model, datamodule, accelerator=machine.accelerator, devices=1, max_steps=settings["steps"])
    rows = []
    for pixels in settings["shifts"]:
        steps = [step for step in (turned, Shifted(pixels) if pixels else None) if step is not None]
        datamodule.test_augmentations = Compose(steps) if steps else None
        datamodule.setup()
        if settings["test_images"]:
            _spread(datamodule.test_data, settings["test_images"])
        rows.append({"shift": pixels, **evaluate(model, datamodule, machine.device)})
    return rows


def _spread(dataset: Any, count: int) -> None:
    """Leave a data set so many of its images, spread evenly over the good and over the defective ones."""
    flags = dataset.samples["label_index"].to_numpy() == int(LabelName.ABNORMAL)
    step = max(1, len(flags) / count)
    kept = [
        places[int(index * step)]
        for places in (flags.nonzero()[0], (~flags).nonzero()[0])
        for index in range(int(len(places) / step))
    ]
    dataset.subsample([int(place) for place in kept], inplace=True)


def grid(options: argparse.Namespace) -> list[Cell]:
    """Return the cells: seed x data x with an alignment and without."""
    cells = []
    for seed, data, align in product(options.seeds, options.what, ("none", "translation")):
        settings = {
            "data": data,
            "align": align,
            "seed": seed,
            "turned": options.turned,
            "shifts": list(options.shifts),
            **{name: getattr(options, name) for name in ("steps", "image_size", "train_images", "test_images")},
        }
        work = partial(compute, settings, study_data(data, options.root), command.machine(options))
        cells.append(Cell(settings, f"{data}/{align}/{'turned' if options.turned else 'as they are'}/{seed}", work))
    return cells


def show(rows: pd.DataFrame) -> str:
    """Return a Markdown table: a row for each data set with an alignment and without, a column for each shift."""
    rows = rows.assign(
        images=rows["data"] + rows["turned"].map({True: ", turned", False: ""}),
        shift=rows["shift"].map("{:.0f} px".format),
    ).sort_values(["data", "turned", "align"], kind="stable")
    shifts = sorted(rows["shift"].unique(), key=lambda text: int(text.split()[0]))
    figures = {"": Figure("image_AUROC", 2, 100), "registered": Figure("registered", 0, 100)}
    return table(rows, {"images": "images", "align": "align"}, figures, "shift", shifts)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if a training has failed."""
    parser = command.build_parser("benchmarks.accuracy.alignment", __doc__, DATA, device="cpu")
    command.add_training_options(parser, seeds=[0], steps=200, image_size=256)
    add = parser.add_argument
    add("--shifts", type=int, nargs="+", default=[0, 4, 12], help="in pixels of the files (default: %(default)s)")
    add("--turned", action="store_true", help="turn each image by an angle of its own, with black corners")
    add("--train-images", type=int, help="train on so many only (default: on all)")
    add("--test-images", type=int, help="test on about so many only (default: on all)")
    options = parser.parse_args(arguments)
    return command.run(parser, options, grid, show)


if __name__ == "__main__":
    raise SystemExit(main())
