# SPDX-License-Identifier: Apache-2.0
"""Which schedule trains reverse distillation in the fewest steps?

    python benchmarks/schedules.py run poly mono tiles [--root ROOT] [--device cuda] [--jobs 4] [--only NAME ...]
    python benchmarks/schedules.py table

The paper's recipe trains for 2,000 steps; every candidate, and the paper's recipe cut short, for 400 and less. A recipe
is chosen on polycrystalline solar cells (``poly``) alone; monocrystalline ones and magnetic tiles only judge it. The
frozen teacher's features are computed once and shared by all runs. Records in RECORDS (``--records``) are not repeated.
"""

import argparse
import copy
import json
import math
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import torch
from lightning import seed_everything
from runs import TEACHER, build_data, replace
from torch import Tensor, nn, optim
from torch.multiprocessing import get_context
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import binary_auroc
from tqdm import tqdm

from rd_plugin import ReverseDistillation, SolarCells
from rd_plugin.components import cosine_deviation
from rd_plugin.components.residual import ResidualBlock
from rd_plugin.models.distillation import DistillationModel
from rd_plugin.models.reverse_distillation.loss import CosineLoss

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
    datamodule = build_data(data, root, BATCH) if data == "tiles" else SolarCells(data)
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
    replace(file, lambda partial: torch.save(content, partial))


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


def job(data: str, name: str, steps: int, seed: int, records: Path, device: str) -> None:
    """Run one training, unless its record is there."""
    record = records / f"{data}_{name.replace(', ', '_').replace(' ', '-')}_{steps}_{seed}.json"
    settings = {"data": data, "recipe": asdict(RECIPES[name]), "name": name, "steps": steps, "seed": seed}
    if record.exists():
        return
    torch.set_num_threads(1 if device == "cuda" else torch.get_num_threads())
    figure = train(RECIPES[name], steps, seed, records / f"{data}_features.pt", device)
    content = {"settings": settings, "image_AUROC": figure, "device": device}
    replace(record, lambda file: file.write_text(json.dumps(content)))


def table(records: Path) -> str:
    """Return a Markdown table: a row for each recipe and length, a column for each data set."""
    runs = [json.loads(file.read_text()) for file in sorted(records.glob("*.json"))]
    columns = [data for data in ("poly", "mono", "tiles") if any(run["settings"]["data"] == data for run in runs)]
    lines = [f"| recipe | steps | {' | '.join(columns)} |", "| --- " * (2 + len(columns)) + "|"]
    for name, steps in product(RECIPES, sorted({run["settings"]["steps"] for run in runs}, reverse=True)):
        cells = []
        for data in columns:
            values = [
                100 * run["image_AUROC"]
                for run in runs
                if (run["settings"]["name"], run["settings"]["steps"], run["settings"]["data"]) == (name, steps, data)
            ]
            cells.append(f"{statistics.mean(values):.2f} ± {statistics.pstdev(values):.2f}" if values else "")
        if any(cells):
            lines.append(f"| {name} | {steps} | {' | '.join(cells)} |")
    return "\n".join(lines)


def lengths(name: str, asked: Iterable[int]) -> list[int]:
    """Return the numbers of steps that a recipe is trained for; the paper's the longest, too."""
    return [2000, *asked] if name == "paper" else list(asked)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("data", nargs="+", choices=["poly", "mono", "tiles"])
    run.add_argument("--root", type=Path, help="folder that holds magnetic_tile/")
    run.add_argument("--only", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    run.add_argument("--steps", type=int, nargs="+", default=[400, 200])
    run.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    run.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    run.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    commands.add_parser("table")
    for command in commands.choices.values():
        command.add_argument("--records", type=Path, default=Path(__file__).parent / "results" / "schedules")
    options = parser.parse_args()
    if options.command == "table":
        print(table(options.records))
        return
    options.records.mkdir(parents=True, exist_ok=True)
    for data in options.data:
        features = options.records / f"{data}_features.pt"
        if not features.exists():
            extract(data, options.root, options.device, features)
    jobs = [
        (data, name, steps, seed, options.records, options.device)
        for seed, data, name in product(options.seeds, options.data, options.only)
        for steps in lengths(name, options.steps)
    ]
    with get_context("spawn").Pool(options.jobs) as pool:
        waiting = [pool.apply_async(job, arguments) for arguments in jobs]
        for result in tqdm(waiting):
            result.get()


if __name__ == "__main__":
    main()
