# SPDX-License-Identifier: Apache-2.0
"""What reverse distillation costs with larger images, with more of them, and what two processes make of it.

    python benchmarks/scale.py size [--sizes 128 256 384 512]
    python benchmarks/scale.py devices [--seeds 0 1 2] [--steps 100]

``size``: a training step of 8 images and inference of one, EfficientNet-Lite0; how many training images' features 2 GiB
hold, and what a step costs where they are kept. Random images and weights; medians, in turns.

``devices``: loss curves on monocrystalline solar cells of one process with batches of 16 and of two processes with 8
each, which Lightning's DDP joins (gloo). The curves are means over the last and the first steps.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import seed_everything
from lightning.pytorch import Callback, LightningModule, Trainer
from runs import TEACHER, fit

from rd_plugin import ReverseDistillation, SolarCells
from rd_plugin.callbacks.memory_reuse import keep_freed_memory
from rd_plugin.models.distillation.feature_cache import FeatureCache, FeatureCacheType

BATCH = 8
BUDGET = 2 * 2**30
TURNS = 5


def training_step(model: ReverseDistillation, images: torch.Tensor, kind: FeatureCacheType) -> Callable[[], None]:
    """A step of training with features kept in a place."""
    optimizer = model.configure_optimizers()
    cache = FeatureCache(model.model.teacher, kind, BUDGET, len(images))
    names = [str(index) for index in range(len(images))]

    def step() -> None:
        optimizer.zero_grad()
        model.loss(*model.model.distill_features(cache(images, names))).backward()
        optimizer.step()

    return step


def inference(model: ReverseDistillation, images: torch.Tensor) -> Callable[[], None]:
    """Map and score of one image."""

    def run() -> None:
        model.eval()
        with torch.inference_mode():
            model.model(images[:1])
        model.train()

    return run


def sizes(asked: list[int]) -> str:
    """Return a table of times for each image size, and of what keeping features takes."""
    keep_freed_memory()
    tasks: dict[tuple[int, str], Callable[[], None]] = {}
    numbers = {}
    for size in asked:
        model = ReverseDistillation(TEACHER["backbone"], pre_trained=False, visualizer=False).train()
        images = torch.randn(BATCH, 3, size, size)
        numbers[size] = sum(feature[0].numel() for feature in model.model.teacher(images[:1]))
        for kind in ("off", "memory", "disk"):
            tasks[size, kind] = training_step(model, images, kind)
        tasks[size, "inference"] = inference(model, images)
    times: dict[tuple[int, str], list[float]] = {key: [] for key in tasks}
    for turn in range(TURNS + 1):
        for key, task in tasks.items():
            start = time.perf_counter()
            task()
            if turn:
                times[key].append(1000 * (time.perf_counter() - start))
    head = "| size | step, ms | features in memory | on disk | inference, ms | images in 2 GiB, full / half precision |"
    lines = [head, "| --- | --- | --- | --- | --- | --- |"]
    for size in asked:
        cells = [f"{statistics.median(times[size, kind]):.0f}" for kind in ("off", "memory", "disk", "inference")]
        held = " / ".join(f"{BUDGET // (numbers[size] * width):,}" for width in (4, 2))
        lines.append(f"| {size} | {' | '.join(cells)} | {held} |")
    return "\n".join(lines)


class LossCurve(Callback):
    """Write the loss of every step, the mean over all processes, to a file.

    Args:
        file: The file.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.losses: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Mapping[str, Any], batch: Any, batch_idx: int
    ) -> None:
        """Take the loss."""
        del pl_module, batch, batch_idx
        self.losses.append(float(trainer.strategy.reduce(outputs["loss"].detach(), reduce_op="mean")))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write them."""
        del pl_module
        if trainer.is_global_zero:
            self.file.write_text(json.dumps(self.losses))


def loss_curve(processes: int, seed: int, steps: int) -> list[float]:
    """Train and return the loss of every step."""
    seed_everything(seed, verbose=False)
    model = ReverseDistillation(**TEACHER, visualizer=False, on_bad_data="off")
    data = SolarCells("mono", train_batch_size=16 // processes, num_workers=0)
    several = {"strategy": "ddp_spawn"} if processes > 1 else {}
    with tempfile.TemporaryDirectory() as folder:
        curve = LossCurve(Path(folder) / "losses.json")
        fit(model, data, accelerator="cpu", devices=processes, max_steps=steps, callbacks=[curve], **several)
        return json.loads(curve.file.read_text())


def devices(seeds: list[int], steps: int) -> str:
    """Return a table of the losses of one and of two processes."""
    window = steps // 10
    places = {f"steps {start + 1} to {start + window}": start for start in range(0, steps - window + 1, 3 * window)}
    lines = [f"| processes x batch | {' | '.join(places)} |", "| --- " * (1 + len(places)) + "|"]
    for processes in (1, 2):
        curves = [loss_curve(processes, seed, steps) for seed in seeds]
        cells = []
        for start in places.values():
            means = [statistics.mean(curve[start : start + window]) for curve in curves]
            cells.append(f"{statistics.mean(means):.4f} ± {statistics.pstdev(means):.4f}")
        lines.append(f"| {processes} x {16 // processes} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    size = commands.add_parser("size")
    size.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 384, 512])
    two = commands.add_parser("devices")
    two.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    two.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    print(sizes(options.sizes) if options.command == "size" else devices(options.seeds, options.steps))


if __name__ == "__main__":
    main()
