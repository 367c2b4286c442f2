# SPDX-License-Identifier: Apache-2.0
"""A training that leaves no file."""

import tempfile
import time
from typing import Any

from anomalib.data import AnomalibDataModule
from anomalib.engine import Engine
from anomalib.models.components import AnomalibModule

__all__ = ["fit"]


def fit(model: AnomalibModule, datamodule: AnomalibDataModule, **trainer: Any) -> float:
    """Train a model with anomalib's engine, without a logger, a progress bar or a file that is left.

    Args:
        model: The model.
        datamodule: Its images.
        **trainer: Lightning's arguments: how long, and on what.

    Returns:
        Seconds that it took.
    """
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(default_root_dir=folder, **quiet, **trainer)
        start = time.perf_counter()
        engine.fit(model, datamodule=datamodule)
        return time.perf_counter() - start
