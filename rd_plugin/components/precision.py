# SPDX-License-Identifier: Apache-2.0
"""Full precision for small differences of large numbers, independent of the networks' precision."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

__all__ = ["full_precision", "widened"]


def widened(features: Tensor) -> Tensor:
    """Return features in at least float32: in 16 bits, one minus a cosine near one is lost in rounding."""
    return features.float() if features.dtype in {torch.float16, torch.bfloat16} else features


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which products are not computed in 16 bits on a device, as they are under autocast."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
