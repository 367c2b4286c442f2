# SPDX-License-Identifier: Apache-2.0
"""Killed at any moment, a run leaves whole files only and continues from its last checkpoint."""

import json
import logging
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml
from anomalib.utils.serialization import anomalib_safe_globals
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image

from rd_plugin import ReverseDistillation, RevisitedReverseDistillation

from ..processes import run_program, start_function
from .conftest import data_config, run_cli, small_model, write_config

logger = logging.getLogger(__name__)

# Models, and how often the run of each is killed: once for each aim at least.
MANY_PARTS = "one model for many parts"
MODELS = {
    "ReverseDistillation": (small_model(ReverseDistillation), 20),
    "RevisitedReverseDistillation": (small_model(RevisitedReverseDistillation), 5),
    "a vision transformer": (
        small_model(ReverseDistillation, backbone="test_vit", layers=None, pre_trained=False, student_depth=2),
        5,
    ),
    MANY_PARTS: (small_model(ReverseDistillation), 5),
}
STEPS_PER_EPOCH = 3
# What a kill aims at, in turns: the command, the phase that is waited for, and at most how many seconds later it comes.
AIMS = (
    ("fit", None, 3.0),
    ("fit", "training", 0.6),
    ("fit", "validation", 0.6),
    ("fit", "checkpoint", 0.3),
    ("test", "testing", 0.6),
)
# For temporary files, on Linux: what is moved from there to a disk is copied, and a kill can leave half of it.
_OTHER_DISK = "/dev/shm"


class Phases(Callback):
    """Write down what the process is about to do, and at which step; made by the command line in another process."""

    def __init__(self, path: str) -> None:
        self.path = path

    def _enter(self, phase: str, step: int) -> None:
        with Path(self.path).open("a") as file:
            file.write(f"{phase} {step}\n")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del pl_module
        self._enter("training", trainer.global_step)

    on_train_epoch_start = on_train_start

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del pl_module
        self._enter("validation", trainer.global_step)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict) -> None:
        del pl_module, checkpoint
        self._enter("checkpoint", trainer.global_step)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del pl_module
        self._enter("testing", trainer.global_step)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del pl_module
        self._enter("finished", trainer.global_step)

    on_test_end = on_fit_end


def _phases(log: Path) -> list[tuple[str, int]]:
    """What a process has done so far."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(phase, int(step)) for phase, step in (line.split() for line in lines)]


def _load(checkpoint: Path) -> dict:
    with anomalib_safe_globals():
        return torch.load(checkpoint, map_location="cpu", weights_only=True)


def _assert_whole(results: Path) -> None:
    """Read every file that is not marked as partial."""
    for path in results.rglob("*"):
        if path.is_dir() or any(part.endswith(".partial") for part in path.parts):
            continue
        if path.suffix == ".ckpt":
            assert _load(path)["state_dict"], path
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".yaml":
            assert yaml.safe_load(path.read_text()), path
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>"), path
        else:
            with Image.open(path) as picture:
                picture.load()


def _newest(results: Path) -> Path | None:
    return max(results.rglob("*.ckpt"), key=lambda path: path.stat().st_mtime, default=None)


def _kill(arguments: list[object], folder: Path, log: Path, phases: list[str], delay: float) -> None:
    """Start the command line, and kill it ``delay`` seconds after it has been through all of ``phases``."""
    output = folder / "output.txt"
    output.write_text("")
    environment = {"CUDA_VISIBLE_DEVICES": ""}
    if os.access(_OTHER_DISK, os.W_OK):
        environment["TMPDIR"] = _OTHER_DISK
    process = start_function(folder, output, run_program, "rd_plugin", *map(str, arguments), **environment)
    while process.is_alive() and Counter(phases) - Counter(phase for phase, _ in _phases(log)):
        time.sleep(0.01)
    time.sleep(delay)
    process.kill()
    process.join(60)
    if process.exitcode != -signal.SIGKILL:
        assert [phase for phase, _ in _phases(log)][-1:] == ["finished"], output.read_text()[-3000:]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("name", MODELS)
def test_killed_run_leaves_whole_files_and_goes_on(
    mvtec_root: Path, parts_root: Path, tmp_path: Path, name: str
) -> None:
    model, kills = MODELS[name]
    data = data_config(mvtec_root)
    if name == MANY_PARTS:
        arguments = {"root": str(parts_root), "train_batch_size": 4, "num_workers": 0}
        data = {"class_path": "rd_plugin.PartsFolder", "init_args": arguments}
    generator = random.Random(0)
    results = tmp_path / "results"
    log = tmp_path / "phases.txt"
    phases = {"class_path": "tests.integration.test_kill.Phases", "init_args": {"path": str(log)}}
    sections = {
        "model": model,
        "data": data,
        # Every epoch ends in a validation and a checkpoint.
        "trainer": {"callbacks": [phases], "val_check_interval": STEPS_PER_EPOCH, "max_epochs": 10_000},
    }
    config = write_config(tmp_path / "config.yaml", **sections)
    hit: Counter[str] = Counter()
    step = 0
    for kill in range(kills):
        log.unlink(missing_ok=True)
        checkpoint = _newest(results)
        resume = ["--ckpt_path", checkpoint] if checkpoint else []
        command, aim, latest = AIMS[kill % len(AIMS)]
        delay = generator.uniform(0, latest)
        # The first checkpoint of a run replaces none.
        waited_for = [aim] * (generator.randint(1, 3) if command == "fit" else 1) if aim else []
        _kill([command, "--config", config, *resume], tmp_path, log, waited_for, delay)

        done = _phases(log)
        phase = done[-1][0] if done else "start-up"
        hit[phase] += 1
        _assert_whole(results)
        if command == "fit" and done:
            assert done[0] == ("training", step), "the run did not go on from the last checkpoint"
        newest = _newest(results)
        before, step = step, _load(newest)["global_step"] if newest else 0
        assert step >= before
        saved = [at for phase, at in done if phase == "checkpoint"]
        # All checkpoints but the one that was being written are there.
        assert step >= max(saved[:-1], default=before)
        partial = len(list(results.rglob("*.partial")))
        message = "kill %d: %s, %.2f s after %s, in %s; checkpoint of step %d, before %d; %d partial files so far"
        logger.info(message, kill + 1, command, delay, waited_for, phase, step, before, partial)
    logger.info("Kills by phase: %s", dict(hit))
    assert step > 0

    finish = ["--ckpt_path", _newest(results), "--trainer.max_epochs", step // STEPS_PER_EPOCH + 1]
    run_cli(tmp_path, "fit", "--config", config, *finish, program="rd_plugin")
    last = _newest(results)
    assert _load(last)["global_step"] == step + STEPS_PER_EPOCH
    run_cli(tmp_path, "test", "--config", config, "--ckpt_path", last, program="rd_plugin")
