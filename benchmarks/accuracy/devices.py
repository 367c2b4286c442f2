# SPDX-License-Identifier: Apache-2.0
"""Do two processes train as one?

    python -m benchmarks.accuracy.devices [--seeds 0 1 2] [--steps 100]
    python -m benchmarks.accuracy.devices table

Loss curves on monocrystalline solar cells of one process with batches of 16 and of two processes with 8 each, which
Lightning's DDP joins (gloo). A figure is the mean over some steps, then mean and standard deviation over seeds.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from lightning import seed_everything
from lightning.pytorch import Callback, LightningModule, Trainer

from benchmarks.common import command
from benchmarks.common.grid import Cell, Row
from benchmarks.common.tables import Figure, table
from benchmarks.common.training import TEACHER, fit
from rd_plugin import ReverseDistillation, SolarCells

BATCH = 16


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


def compute(settings: dict[str, int]) -> list[Row]:
    """Train on the CPU, and return the loss of every step."""
    processes = settings["processes"]
    seed_everything(settings["seed"], verbose=False)
    model = ReverseDistillation(**TEACHER, visualizer=False, on_bad_data="off")
    data = SolarCells("mono", train_batch_size=BATCH // processes, num_workers=0)
    several = {"strategy": "ddp_spawn"} if processes > 1 else {}
    with tempfile.TemporaryDirectory() as folder:
        curve = LossCurve(Path(folder) / "losses.json")
        steps = settings["steps"]
        fit(model, data, accelerator="cpu", devices=processes, max_steps=steps, callbacks=[curve], **several)
        return [{"step": step, "loss": loss} for step, loss in enumerate(json.loads(curve.file.read_text()))]


def grid(options: argparse.Namespace) -> list[Cell]:
    """Return the cells: processes x seed."""
    cells = []
    for processes, seed in product((1, 2), options.seeds):
        settings = {"processes": processes, "seed": seed, "steps": options.steps}
        cells.append(Cell(settings, f"processes/{processes}/{seed}", partial(compute, settings)))
    return cells


def show(rows: pd.DataFrame) -> str:
    """Return Markdown tables of the losses of one and of two processes, one for each number of steps."""
    texts = []
    for steps, runs in rows.groupby("steps"):
        window = max(1, steps // 10)
        places = {start: f"steps {start + 1} to {start + window}" for start in range(0, steps - window + 1, 3 * window)}
        runs = runs.assign(place=(runs["step"] // window * window).map(places)).dropna(subset="place")
        means = runs.groupby(["processes", "seed", "place"], sort=False)["loss"].mean().reset_index()
        means["batches"] = [f"{count} x {BATCH // count}" for count in means["processes"]]
        figures = {"": Figure("loss", 4, deviation=0)}
        texts.append(table(means, {"processes x batch": "batches"}, figures, "place", list(places.values())))
    return "\n\n".join(texts)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if a training has failed."""
    parser = command.build_parser("benchmarks.accuracy.devices", __doc__, device="cpu")
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--steps", type=int, default=100)
    return command.run(parser, parser.parse_args(arguments), grid, show)


if __name__ == "__main__":
    raise SystemExit(main())
