# SPDX-License-Identifier: Apache-2.0
"""Running statistics of batch norm, from the images of all processes."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn

__all__ = ["RunningStatistics"]


class RunningStatistics(Callback):
    """Give all processes the mean of their running means and variances, before anything is computed with them.

    Each process normalizes a step's images separately, and so has its own running statistics. Without this, a
    model would keep those of the first process, and each process would compute its share of the statistics of normal
    images with another student. Layers that are not trained do not change.
    """

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do so before a validation."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._share(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do so before a checkpoint, which may follow an epoch without validation."""
        self._share(trainer, pl_module)

    @staticmethod
    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def _share(trainer: Trainer, module: LightningModule) -> None:
        if trainer.world_size == 1:
            return
        layers = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d) and _is_trained(layer)]
        kept = [buffer for layer in layers for buffer in (layer.running_mean, layer.running_var) if buffer is not None]
        if not kept:
            return
        mean = trainer.strategy.reduce(torch.cat(kept), reduce_op="mean")
        for buffer, values in zip(kept, mean.split([len(buffer) for buffer in kept]), strict=True):
            buffer.copy_(values)


def _is_trained(layer: nn.BatchNorm2d) -> bool:
    """Whether a layer learns, so that its running statistics change."""
    return layer.affine and layer.weight.requires_grad
