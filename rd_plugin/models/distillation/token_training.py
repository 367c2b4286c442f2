# SPDX-License-Identifier: Apache-2.0
"""How a student of tokens is trained (Guo et al., CVPR 2025): StableAdamW, a schedule by step, clipped gradients."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from anomalib.models.image.dinomaly.components import StableAdamW
from torch.optim.lr_scheduler import LambdaLR

from .schedule import warm_cosine

__all__ = ["GRADIENT_NORM", "token_optimizer"]

# What gradients are clipped to, in the authors' program.
GRADIENT_NORM = 0.1
# There weight decay is also of biases and norms.
_WEIGHT_DECAY, _EPSILON = 1e-4, 1e-10


def token_optimizer(
    groups: Sequence[dict[str, Any]], betas: tuple[float, float], steps: int
) -> tuple[StableAdamW, LambdaLR]:
    """Build the optimizer, and the schedule that is to be stepped with it.

    Args:
        groups: Parameters in groups, each with its ``lr``, the highest learning rate.
        betas: Decay rates.
        steps: Steps of the training.
    """
    optimizer = StableAdamW(
        groups, lr=groups[0]["lr"], betas=betas, eps=_EPSILON, weight_decay=_WEIGHT_DECAY, amsgrad=True
    )
    return optimizer, LambdaLR(optimizer, partial(warm_cosine, steps=steps))
