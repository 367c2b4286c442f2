# SPDX-License-Identifier: Apache-2.0
"""Full precision for small differences of large numbers, whatever the precision of the networks."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

__all__ = ["full_precision", "widened"]


def widened(features: Tensor) -> Tensor:
    """Return features in float32 at least: one minus a cosine near one would drown in 16 bits."""
    return features.float() if features.dtype in {torch.float16, torch.bfloat16} else features


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which products do not fall to 16 bits on a device, as they would under autocast."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
