# SPDX-License-Identifier: Apache-2.0
"""Some images of a batch, such as those that no other process evaluates, too."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from anomalib.data import ImageBatch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DistributedSampler

__all__ = ["some_of", "without_repeats"]


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


def without_repeats(
    trainer: Trainer, batch: ImageBatch, batch_idx: int = 0, dataloader_idx: int = 0
) -> ImageBatch | None:
    """Return the images of a batch of validation or test that are not evaluated by another process, too.

    With several processes, Lightning repeats the first images until each process has as many. In thresholds and metrics
    each image counts once.

    Args:
        trainer: The trainer, in a validation or test.
        batch: The batch.
        batch_idx: Its place among those of this process.
        dataloader_idx: Which of several loaders it is from.

    Returns:
        The images; ``None`` if all are repeats.
    """
    if getattr(trainer, "world_size", 1) == 1:
        return batch
    loaders: Any = trainer.test_dataloaders if trainer.testing else trainer.val_dataloaders
    loader = loaders[dataloader_idx] if isinstance(loaders, list | tuple) else loaders
    sampler = getattr(loader, "sampler", None)
    if not isinstance(sampler, DistributedSampler) or sampler.shuffle:
        return batch
    # A process gets every n-th image, in order.
    first = batch_idx * loader.batch_size
    places = [(first + index) * sampler.num_replicas + sampler.rank for index in range(batch.batch_size)]
    own = [index for index, place in enumerate(places) if place < len(sampler.dataset)]  # type: ignore[arg-type]
    if len(own) == len(places):
        return batch
    return some_of(batch, own) if own else None
