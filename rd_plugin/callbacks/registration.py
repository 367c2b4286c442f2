# SPDX-License-Identifier: Apache-2.0
"""Fit the alignment before the first step, and name images that could not be registered."""

import logging
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from rd_plugin.components import spread
from rd_plugin.storage import printable

from .normal_statistics import training_batches

__all__ = ["RegistrationFitting"]

logger = logging.getLogger(__name__)

# Maximum number of images whose mean others are registered to.
_IMAGES = 512
# Maximum number of images named that could not be registered.
_NAMED = 10


class RegistrationFitting(Callback):
    """Fit the alignment of a model to training images, unless it has none or a checkpoint brought it.

    It comes before everything that computes with training images. A validation, test or prediction ends with a line
    about the images that could not be registered.
    """

    # Tensors made in inference mode could not be changed by a later training or loading.
    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fit it, and log how many training images are registered."""
        module: Any = pl_module
        alignment = module.model.alignment
        if alignment is None or alignment.is_fitted:
            return
        # The same images in every process, so that all come to the same result.
        places = spread(range(len(trainer.train_dataloader.dataset)), _IMAGES)  # type: ignore[union-attr]
        grey = [alignment.reduce(batch.image) for batch in training_batches(trainer, pl_module, places)]
        share = alignment.fit(torch.cat(grey)).float().mean().item()
        # Batches are aligned now.
        sums = [batch.image.sum(0, keepdim=True) for batch in training_batches(trainer, pl_module, places)]
        alignment.fit_picture(torch.stack(sums).sum(0) / len(places))
        level = logging.INFO if share >= 0.5 else logging.WARNING
        logger.log(
            level,
            "Alignment: %.0f %% of %d training images are registered to their mean%s.",
            100 * share,
            len(places),
            "" if share >= 0.5 else "; others are inspected as they are, and align 'none' saves time",
        )

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget earlier images."""
        del trainer
        module: Any = pl_module
        module.unregistered.clear()

    on_test_epoch_start = on_predict_epoch_start = on_validation_epoch_start

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Name the images that could not be registered."""
        del trainer
        module: Any = pl_module
        if paths := module.unregistered:
            named = ", ".join(map(printable, paths[:_NAMED])) + (", ..." if len(paths) > _NAMED else "")
            logger.warning(
                "Images that could not be registered, and are inspected as they are: %d (%s).", len(paths), named
            )

    on_test_epoch_end = on_predict_epoch_end = on_validation_epoch_end
