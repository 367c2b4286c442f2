# SPDX-License-Identifier: Apache-2.0
"""A check that stops a run before a loss that is not finite destroys the weights."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

__all__ = ["finite_sum"]


def finite_sum(name: str, scales: Mapping[str, Tensor], step: int, files: Sequence[str] | None) -> Tensor:
    """Add up the losses of the scales.

    Args:
        name: Name of the loss, for the message.
        scales: Scalar loss of each scale, by the name of its layer.
        step: The training step, for the message.
        files: The images of the batch, for the message.

    Returns:
        Scalar loss.

    Raises:
        ValueError: If it is NaN or infinite; the message names the step, the scales and the files.

    Example:
        >>> finite_sum("train_loss", {"layer1": torch.tensor(1.0), "layer2": torch.tensor(0.5)}, 0, None)
        tensor(1.5000)
    """
    losses = torch.stack(list(scales.values()))
    loss = losses.sum()
    if not torch.isfinite(loss):
        listed = ", ".join(f"{layer} {value:g}" for layer, value in zip(scales, losses.tolist(), strict=True))
        msg = (
            f"{name} at step {step} is not finite ({listed}). The run stops, and the last checkpoint is kept. "
            f"Lower learning_rate or check the images of this batch: {', '.join(files or ['unknown'])}."
        )
        raise ValueError(msg)
    return loss
