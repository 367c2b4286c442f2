# SPDX-License-Identifier: Apache-2.0
"""Some images of a batch."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from anomalib.data import ImageBatch
from torch import Tensor

__all__ = ["some_of"]


def some_of(batch: ImageBatch, indices: Sequence[int]) -> ImageBatch:
    """Return some images of a batch, with all that is known of them.

    Args:
        batch: The batch.
        indices: Which images, in this order.
    """
    chosen = list(indices)
    values: dict[str, Any] = {}
    for entry in fields(batch):
        value = getattr(batch, entry.name)
        if isinstance(value, Tensor):
            values[entry.name] = value[chosen]
        elif isinstance(value, list):
            values[entry.name] = [value[index] for index in chosen]
    return ImageBatch(**values)
