# SPDX-License-Identifier: Apache-2.0
"""Which schedule trains reverse distillation in the fewest steps?

    python -m benchmarks.accuracy.schedules poly mono tiles [--root ROOT] [--device cuda] [--jobs 4] [--only NAME ...]
    python -m benchmarks.accuracy.schedules table

The paper's recipe trains for 2,000 steps; every candidate, and the paper's recipe cut short, for 400 and less. A recipe
is chosen on polycrystalline solar cells (``poly``) alone; monocrystalline ones and magnetic tiles only test it. The
frozen teacher's features are computed once and shared by all runs. Runs leave records and are not repeated.
"""

import argparse
import copy
import math
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning import seed_everything
from torch import Tensor, nn, optim
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import binary_auroc

from benchmarks.common import command
from benchmarks.common.grid import Cell, Machine, Row
from benchmarks.common.tables import Figure, table
from benchmarks.common.training import TEACHER
from rd_plugin import ReverseDistillation
from rd_plugin.components import cosine_deviation
from rd_plugin.components.residual import ResidualBlock
from rd_plugin.models.distillation import DistillationModel
from rd_plugin.models.reverse_distillation.loss import CosineLoss
from rd_plugin.storage import atomic_file

from .suites import study_data

DATA = ("poly", "mono", "tiles")
BATCH = 16
SIDE = 256


@dataclass(frozen=True)
class Recipe:
    """What a training is made of.

    Args:
        learning_rate: Adam's highest learning rate.
        decay: Whether it falls to zero along a cosine.
        warm_up: Share of the steps in which it rises linearly from zero.
        beta: Adam's decay rate of the gradient's mean.
        loss: The loss, as in :class:`~rd_plugin.ReverseDistillation`.
        average: Decay rate of the weights' moving average that is evaluated; 0 for the last weights.
        standardize: Whether the teacher's channels get mean 0 and standard deviation 1 on the training images.
        zero_init: Whether every residual block starts as its identity path.
        clip: Largest norm of the gradient, if any is.
    """

    learning_rate: float = 0.005
    decay: bool = False
    warm_up: float = 0
    beta: float = 0.5
    loss: str = "flattened"
    average: float = 0
    standardize: bool = False
    zero_init: bool = False
    clip: float | None = None

    def factor(self, step: int, steps: int) -> float:
        """Return the share of the learning rate at a step."""
        rising = self.warm_up * steps
        if step < rising:
            return (step + 1) / (rising + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising))) if self.decay else 1


RECIPES = {
    "paper": Recipe(),
    "average": Recipe(average=0.98),
    "decay": Recipe(decay=True),
    "decay, average": Recipe(decay=True, average=0.98),
    "decay, warm-up": Recipe(decay=True, warm_up=0.1),
    "decay, warm-up, rate 0.002": Recipe(decay=True, warm_up=0.1, learning_rate=0.002),
    "decay, warm-up, rate 0.01": Recipe(decay=True, warm_up=0.1, learning_rate=0.01),
    "decay, warm-up, rate 0.02": Recipe(decay=True, warm_up=0.1, learning_rate=0.02),
    "decay, warm-up 0.3": Recipe(decay=True, warm_up=0.3),
    "decay, warm-up, beta 0.9": Recipe(decay=True, warm_up=0.1, beta=0.9),
    "decay, warm-up, clip 1": Recipe(decay=True, warm_up=0.1, clip=1),
    "decay, warm-up, zero init": Recipe(decay=True, warm_up=0.1, zero_init=True),
    "decay, warm-up, per pixel": Recipe(decay=True, warm_up=0.1, loss="per_pixel"),
    "standardize": Recipe(standardize=True),
    "decay, warm-up, standardize": Recipe(decay=True, warm_up=0.1, standardize=True),
    "decay, warm-up, standardize, per pixel": Recipe(decay=True, warm_up=0.1, standardize=True, loss="per_pixel"),
}


@torch.inference_mode()
def extract(data: str, root: Path | None, device: str, file: Path) -> None:
    """Write the teacher's features of all training and test images, and the test labels."""
    model = ReverseDistillation(**TEACHER, visualizer=False)
    model.model.teacher.load_pretrained()
    teacher = model.model.teacher.to(device).eval()
    datamodule = study_data(data, root)()
    datamodule.prepare_data()
    datamodule.setup()
    content: dict[str, object] = {}
    for split, dataset in (("train", datamodule.train_data), ("test", datamodule.test_data)):
        batches, labels = [], []
        for batch in DataLoader(dataset, 32, num_workers=4, collate_fn=dataset.collate_fn):
            images = model.pre_processor.transform(batch.image).to(device)
            batches.append([feature.cpu() for feature in teacher(images)])
            labels.append(batch.gt_label)
        content[split] = [torch.cat(scale) for scale in zip(*batches, strict=True)]
        content[f"{split}_labels"] = torch.cat(labels).int()
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file) as unfinished:
        torch.save(content, unfinished)


def standardize(train: list[Tensor], test: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Return features whose channels have mean 0 and standard deviation 1 on the training images."""
    moments = [torch.std_mean(scale, dim=(0, 2, 3), keepdim=True) for scale in train]
    first, second = (
        [(scale - mean) / std for scale, (std, mean) in zip(scales, moments, strict=True)] for scales in (train, test)
    )
    return first, second


@torch.inference_mode()
def auroc(model: DistillationModel, features: list[Tensor], labels: Tensor) -> float:
    """Return the image AUROC of the highest value of the map."""
    model.eval()
    scores = []
    for start in range(0, len(labels), 32):
        teacher, student = model.distill_features([scale[start : start + 32] for scale in features])
        deviations = [cosine_deviation(t, s) for t, s in zip(teacher, student, strict=True)]
        scores.append(model.image_score(model.anomaly_map_generator(deviations, (SIDE, SIDE))).flatten())
    return float(binary_auroc(torch.cat(scores).cpu(), labels))


def train(recipe: Recipe, steps: int, seed: int, features: Path, device: str) -> float:
    """Train and return the image AUROC on the test images."""
    content = torch.load(features, weights_only=True)
    train_scales, test_scales = ([scale.to(device) for scale in content[split]] for split in ("train", "test"))
    if recipe.standardize:
        train_scales, test_scales = standardize(train_scales, test_scales)
    seed_everything(seed, verbose=False)
    model = ReverseDistillation(**(TEACHER | {"pre_trained": False}), visualizer=False).model.to(device).train()
    if recipe.zero_init:
        for module in model.student.modules():
            if isinstance(module, ResidualBlock):
                nn.init.zeros_(module.residual[-1].weight)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = optim.Adam(parameters, lr=recipe.learning_rate, betas=(recipe.beta, 0.999))
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda step: recipe.factor(step, steps))
    loss = CosineLoss(recipe.loss)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.average), use_buffers=True)
    images = len(train_scales[0])
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) < BATCH:
            order = torch.randperm(images)
        chosen, order = order[:BATCH].to(device), order[BATCH:]
        optimizer.zero_grad()
        loss(*model.distill_features([scale[chosen] for scale in train_scales])).backward()
        if recipe.clip:
            nn.utils.clip_grad_norm_(parameters, recipe.clip)
        optimizer.step()
        schedule.step()
        if recipe.average:
            averaged.update_parameters(model)
    final = averaged.module if recipe.average else model
    return auroc(copy.deepcopy(final), test_scales, content["test_labels"])


def compute(settings: dict[str, Any], features: Path, machine: Machine) -> list[Row]:
    """Run one training."""
    recipe = RECIPES[settings["name"]]
    return [{"image_AUROC": train(recipe, settings["steps"], settings["seed"], features, machine.device)}]


def lengths(name: str, asked: list[int]) -> list[int]:
    """Return the numbers of steps that a recipe is trained for; the paper's the longest, too."""
    return [2000, *asked] if name == "paper" else asked


def grid(options: argparse.Namespace) -> list[Cell]:
    """Return the cells: seed x data x recipe x steps."""
    machine = command.machine(options)
    cells = []
    for seed, data, (name, recipe) in product(options.seeds, options.what, RECIPES.items()):
        for steps in lengths(name, options.steps):
            settings = {"data": data, "name": name, "steps": steps, "seed": seed, **asdict(recipe)}
            work = partial(compute, settings, features_file(options.records, data), machine)
            cells.append(Cell(settings, f"{data}/{name}/{steps}/{seed}", work))
    return cells


def prepare(options: argparse.Namespace) -> list[Cell]:
    """Return the cells, with the features that they share computed."""
    for data in options.what:
        features = features_file(options.records, data)
        if not features.exists():
            extract(data, options.root, options.device, features)
    return grid(options)


def features_file(records: Path, data: str) -> Path:
    """Return where the features of a data set are kept."""
    return records / f"{data}_features.pt"


def show(rows: pd.DataFrame) -> str:
    """Return a Markdown table: a row for each recipe and length, a column for each data set."""
    rows = rows.sort_values(["name", "steps"], key=_order, kind="stable")
    columns = [data for data in DATA if (rows["data"] == data).any()]
    figures = {"": Figure("image_AUROC", 2, 100, deviation=0)}
    return table(rows, {"recipe": "name", "steps": "steps"}, figures, "data", columns)


def _order(column: pd.Series) -> pd.Series:
    """Recipes in their order, the longest training of each first."""
    return column.map([*RECIPES].index) if column.name == "name" else -column


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if a training has failed."""
    parser = command.build_parser("benchmarks.accuracy.schedules", __doc__, DATA, device="cpu")
    command.add_training_options(parser, seeds=[0, 1, 2], steps=[400, 200])
    options = parser.parse_args(arguments)
    return command.run(parser, options, prepare, show)


if __name__ == "__main__":
    raise SystemExit(main())
