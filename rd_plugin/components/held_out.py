# SPDX-License-Identifier: Apache-2.0
"""Which normal images are held out from the statistics, and which are perturbed."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["held_out", "perturbed_places", "spread"]

# One of this many images is held out.
_HOLD_OUT = 4
# Maximum number of images that are perturbed.
_PERTURBED = 32


def held_out(places: Sequence[int]) -> Tensor:
    """Return which training images are held out, by their indices in the data set: booleans of shape ``(N,)``.

    Example:
        >>> held_out(range(8)).nonzero().flatten().tolist()
        [3, 7]
    """
    return torch.tensor(list(places), dtype=torch.int64) % _HOLD_OUT == _HOLD_OUT - 1


def spread(places: Sequence[int], count: int) -> list[int]:
    """Return at most ``count`` of the indices, evenly spread.

    Example:
        >>> spread(range(10), 4)
        [0, 2, 5, 7]
    """
    step = max(1.0, len(places) / count)
    return [places[int(index * step)] for index in range(min(count, len(places)))]


def perturbed_places(count: int) -> list[int]:
    """Return which of ``count`` training images are perturbed; none of them is held out.

    Example:
        >>> perturbed_places(6)
        [0, 1, 2, 4, 5]
    """
    return spread((~held_out(range(count))).nonzero().flatten().tolist(), _PERTURBED)
