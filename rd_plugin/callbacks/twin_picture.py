# SPDX-License-Identifier: Apache-2.0
"""A picture of the synthetic anomalies that a model is trained with."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torchvision.utils import make_grid, save_image

from rd_plugin.storage import atomic_export

__all__ = ["TwinPicture"]


class TwinPicture(Callback):
    """Write a picture of the first training batch: images, their twins with synthetic anomalies, and the masks.

    For models whose training step returns ``images``, ``twins`` and ``masks``, such as
    :class:`~rd_plugin.ExpertReverseDistillation`. On the command line:
    ``--trainer.callbacks+=rd_plugin.callbacks.TwinPicture``.

    Args:
        path: File to write; by default ``twins.png`` in the run's folder.
        count: Maximum number of images in the picture.

    Raises:
        ValueError: If ``count`` is less than 1.
    """

    def __init__(self, path: str | Path | None = None, count: int = 8) -> None:
        if count < 1:
            msg = f"count must be at least 1, got {count}."
            raise ValueError(msg)
        self.path = None if path is None else Path(path)
        self.count = count
        self._written = False

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write the picture once.

        Raises:
            TypeError: If the model trains without twins.
        """
        del batch, batch_idx
        if self._written or not trainer.is_global_zero:
            return
        if not isinstance(outputs, dict) or not {"images", "twins", "masks"} <= outputs.keys():
            msg = f"TwinPicture: {type(pl_module).__name__} is not trained with twins of its images."
            raise TypeError(msg)
        self._written = True
        path = self.path or Path(trainer.default_root_dir) / "twins.png"
        images, twins, masks = (outputs[name][: self.count].float().cpu() for name in ("images", "twins", "masks"))
        # Images and twins are normalized together, so that only the anomaly differs between them.
        pictures = torch.cat([images, twins])
        pictures = (pictures - pictures.min()) / (pictures.max() - pictures.min())
        grid = make_grid(torch.cat([pictures, masks.expand_as(images)]), nrow=len(images))

        def save(folder: str) -> Path:
            save_image(grid, Path(folder) / path.name)
            return Path(folder) / path.name

        atomic_export(save, path.parent)
