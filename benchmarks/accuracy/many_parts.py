# SPDX-License-Identifier: Apache-2.0
"""One model for many parts beside one model for each: image AUROC of each part, and their mean.

    python -m benchmarks.accuracy.many_parts all each [--root ROOT] [--models NAME ...] [--model-args KEY=VALUE ...]
        [--steps 1000] [--image-size 256] [--images N]
    python -m benchmarks.accuracy.many_parts table

Parts are mono- and polycrystalline solar cells, magnetic tiles, and four classes of CIFAR-10 (the other classes are
their defects). ``all`` trains one model on the good images of all parts, for so many steps; ``each`` one on those of
each part, for as many steps divided by the number of parts, so that both see as many images. anomalib's models are
given as ``anomalib.Patchcore``. Arguments are given to all models of a call; ``linear_attention=true`` is an experiment
with ours. Nothing is chosen, and no validation set is used. Runs leave records and are not repeated.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from anomalib.data import AnomalibDataModule
from anomalib.data.utils import ValSplitMode
from lightning import seed_everything
from torch import Tensor, nn

from benchmarks.common import command
from benchmarks.common.grid import Cell, Machine, Row
from benchmarks.common.tables import Figure, table, varied
from benchmarks.common.training import TEACHER, fit
from rd_plugin import MVTec, OneClass
from rd_plugin.comparison import methods
from rd_plugin.components.token_student import LinearAttention
from rd_plugin.models.distillation import Distillation

from .cells import evaluate, model_name
from .suites import BuildData, study_data

CIFAR = "cifar10_subset"
CLASSES = ("airplane", "automobile", "horse", "ship")
# Experiment: linear attention in the bottleneck.
ATTENTION, _HEADS = "linear_attention", 8
STATISTICS = "statistics"
_MODELS = ("ReverseDistillation", "FusedReverseDistillation", "anomalib.Patchcore")


class Attending(nn.Module):
    """A bottleneck to whose embedding is added what the linear attention of Dinomaly's student makes of it.

    An experiment: a model has no such option.

    Args:
        bottleneck: The bottleneck.
        channels: Channels of its embedding.
    """

    def __init__(self, bottleneck: nn.Module, channels: int) -> None:
        super().__init__()
        self.bottleneck = bottleneck
        self.norm = nn.LayerNorm(channels)
        self.attention = LinearAttention(channels, _HEADS)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return the embedding, of shape ``(N, C, H, W)``."""
        embedding: Tensor = self.bottleneck(features)
        attended: Tensor = self.attention(self.norm(embedding.flatten(2).mT))
        return embedding + attended.mT.unflatten(2, embedding.shape[-2:])


def sources(root: Path | None) -> dict[str, BuildData]:
    """Return what builds the data of each part.

    Args:
        root: Folder that holds ``magnetic_tile/`` and ``cifar10_subset/``.
    """
    found = {name: study_data(name, root) for name in ("mono", "poly", "tiles")}
    folder = (root or Path()) / CIFAR
    return found | {name: partial(OneClass, folder, name, root=root, val_split_mode="none") for name in CLASSES}


def link(datamodule: AnomalibDataModule, folder: Path, most: int | None) -> None:
    """Link the images of a part into a folder in MVTec AD's layout, without masks.

    Args:
        datamodule: Its data.
        folder: The folder.
        most: How many images of a kind at most, taken at equal distances.
    """
    datamodule.prepare_data()
    datamodule.setup()
    for split, dataset in (("train", datamodule.train_data), ("test", datamodule.test_data)):
        for label, kind in ((0, "good"), (1, "defect")):
            files = list(dataset.samples.loc[dataset.samples["label_index"] == label, "image_path"])
            if files:
                _link(files[:: max(len(files) // most, 1)][:most] if most else files, folder / split / kind)


def _link(files: Iterable[str], folder: Path) -> None:
    folder.mkdir(parents=True)
    for index, file in enumerate(files):
        (folder / f"{index:05}{Path(file).suffix}").symlink_to(Path(file).resolve())


def compute(settings: dict[str, Any], root: Path | None, machine: Machine) -> list[Row]:
    """Train on a part or on all, and evaluate each part by itself."""
    built, parts = sources(root), settings["of"]
    with tempfile.TemporaryDirectory() as folder:
        for part in parts:
            link(
                built[part](train_batch_size=1, eval_batch_size=1, num_workers=0),
                Path(folder) / part,
                settings["images"],
            )
        datamodule = MVTec(
            folder,
            None,
            train_batch_size=settings["batch"],
            eval_batch_size=settings["batch"],
            num_workers=machine.workers,
            val_split_mode=ValSplitMode.NONE,
        )
        seed_everything(settings["seed"], verbose=False)
        arguments = dict(settings["arguments"])
        attention = arguments.pop(ATTENTION, False)
        model = methods.build(
            settings["model"],
            arguments,
            TEACHER["backbone"],
            TEACHER["pre_trained"],
            settings["image_size"],
        )
        if attention:
            model.model.bottleneck = Attending(model.model.bottleneck, model.model.teacher.pyramid.embedding.channels)
        steps = max(settings["steps"] * len(parts) // settings["parts"], 1)
        asked = methods.length(settings["model"], {"steps": steps})
        limits = {"max_epochs": 1} if "epochs" in asked else {"max_steps": steps}
        seconds = fit(model, datamodule, accelerator=machine.accelerator, **limits)
        datamodule.setup()
        samples = datamodule.test_data.samples
        rows = []
        for part in parts:
            mine = samples[samples["part"] == part].reset_index(drop=True)
            mine.attrs = samples.attrs
            datamodule.test_data.samples = mine
            with model.model.as_part(part) if isinstance(model, Distillation) else nullcontext():
                (row,) = evaluate(model, datamodule, machine.device, "all", by_region=False)
            rows.append({"tested": part, "image_AUROC": row["image_AUROC"], "train_seconds": round(seconds, 1)})
        return rows


def grid(options: argparse.Namespace) -> list[Cell]:
    """Return the cells: seed x model x all parts or each."""
    machine = command.machine(options)
    arguments = {name: json.loads(value) for name, value in (text.split("=", 1) for text in options.model_args)}
    groups = {"all": [list(options.parts)], "each": [[part] for part in options.parts]}
    cells = []
    for seed in options.seeds:
        for model in options.models:
            for trained in options.what:
                # Records name it, since the default has changed.
                own = {STATISTICS: "per_part"} if (trained, model) == ("all", "FusedReverseDistillation") else {}
                for parts in groups[trained]:
                    settings = {"trained": trained, "of": parts, "model": model, "arguments": own | arguments}
                    settings["seed"] = seed
                    settings["parts"] = len(options.parts)
                    settings |= {name: getattr(options, name) for name in ("steps", "batch", "image_size", "images")}
                    name = f"{trained}/{model_name(settings)}/{'+'.join(parts)}/{seed}"
                    cells.append(Cell(settings, name, partial(compute, settings, options.root, machine)))
    return cells


def show(rows: pd.DataFrame) -> str:
    """Return a Markdown table of records: image AUROC of each part, and the mean of the parts."""
    rows = rows.assign(
        method=[model_name({**row, "arguments": json.loads(row["arguments"])}) for row in rows.to_dict("records")]
    )
    more = varied(rows, "steps", "batch", "image_size", "images")
    means = rows.groupby(["trained", "method", "seed", *more.values()], as_index=False, dropna=False)[
        "image_AUROC"
    ].mean()
    rows = pd.concat([rows, means.assign(tested="mean")], ignore_index=True)
    by = {"model": "method", "trained on": "trained", **more}
    return table(rows, by, {"": Figure("image_AUROC")}, "tested")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if a run has failed."""
    parser = command.build_parser("benchmarks.accuracy.many_parts", __doc__, ["all", "each"])
    command.add_training_options(parser, seeds=[0], steps=1000, batch=16, image_size=256)
    add = parser.add_argument
    add("--parts", nargs="+", default=["mono", "poly", "tiles", *CLASSES], help="(default: %(default)s)")
    add("--models", nargs="+", default=_MODELS, help="ours by name, anomalib's as anomalib.NAME")
    add("--model-args", nargs="+", default=[], metavar="KEY=JSON", help='such as hard_mining=\\"share\\"')
    add("--images", type=int, help="of each kind of each part at most, for a trial (default: all)")
    options = parser.parse_args(arguments)
    return command.run(parser, options, grid, show)


if __name__ == "__main__":
    raise SystemExit(main())
