# SPDX-License-Identifier: Apache-2.0
"""No checkpoint with weights that are not finite."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["FiniteWeights"]


class FiniteWeights(Callback):
    """Stop a run before it replaces its last good checkpoint with one whose weights are not finite.

    A loss that is not finite stops the run at once, but a finite loss can have gradients that are not finite. After the
    last step before a checkpoint, no loss has shown them yet.
    """

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Check the weights and statistics of the torch module before they are written.

        Raises:
            ValueError: If one of them is NaN or infinite.
        """
        del checkpoint
        state = pl_module.get_submodule("model").state_dict()
        lost = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
        if lost:
            msg = (
                f"{len(lost)} weights are not finite after step {trainer.global_step}, {lost[0]} among them. "
                "No checkpoint is written; the last good one is kept. Lower learning_rate."
            )
            raise ValueError(msg)
