# SPDX-License-Identifier: Apache-2.0
"""Mean teacher features of each of several parts, written to the model's record by a training."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from rd_plugin.data.part_names import group_by_part
from rd_plugin.data.part_recognition import Recognizer
from rd_plugin.provenance import Provenance

from .courtesy import spared
from .normal_statistics import training_batches

__all__ = ["PartFeatures"]

# As many images of a part give its mean well enough.
_IMAGES = 32


class PartFeatures(Callback):
    """Record the mean features of each part, by which an image's part is recognized.

    They come from some training images, before the first step. A teacher that is trained gives others later, so with
    such a teacher there are none.
    """

    def __init__(self) -> None:
        self.failed = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the features, if the data module has parts."""
        self.failed = False
        module: Any = pl_module
        parts = getattr(getattr(trainer, "datamodule", None), "parts", ())
        if parts and trainer.is_global_zero and module.frozen_network is module.model.teacher:
            self._record(trainer, module, parts)

    @spared("The features that parts are recognized by")
    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def _record(self, trainer: Trainer, module: Any, parts: tuple[str, ...]) -> None:
        dataset: Any = trainer.train_dataloader.dataset  # type: ignore[union-attr]
        known = module.provenance or Provenance()
        found = dict(known.parts)
        for part, places in group_by_part(dataset.samples["image_path"], parts).items():
            some = places[:: -(-len(places) // _IMAGES)]
            features = [
                module.model.pooled_features(batch.image).double().cpu().numpy()
                for batch in training_batches(trainer, module, some)
            ]
            found[part] = {**found.get(part, {}), **Recognizer.plain(np.concatenate(features))}
        module.provenance = replace(known, parts=found)
