# SPDX-License-Identifier: Apache-2.0
"""Statistics of normal images, for a model whose deviation compares with them."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DataLoader, Subset

__all__ = ["NormalStatistics", "training_batches", "training_features"]


class NormalStatistics(Callback):
    """Fit a model's statistics on all training images.

    For models with :class:`~rd_plugin.components.MahalanobisDeviation`. The statistics are fitted before each
    validation, whose thresholds depend on them. Without validations they are fitted at the end of each epoch, since a
    checkpoint may follow.
    """

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fit the statistics, if the validation is part of a training.

        Raises:
            ValueError: If the validation comes before the training, when the statistics are not fitted.
        """
        if trainer.sanity_checking:
            msg = (
                f"num_sanity_val_steps is {trainer.num_sanity_val_steps}, and deviation 'mahalanobis' cannot predict "
                "before its statistics are fitted: set it to 0, as anomalib's Engine does for this model."
            )
            raise ValueError(msg)
        if trainer.state.fn == TrainerFn.FITTING:
            self._fit(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fit the statistics, if there are no validations."""
        if not trainer.enable_validation or not sum(trainer.num_val_batches):
            self._fit(trainer, pl_module)

    # Tensors made in inference mode could not be changed by a later training or loading.
    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def _fit(self, trainer: Trainer, pl_module: LightningModule) -> None:
        network: Any = pl_module.model
        was_training = network.training
        network.eval()
        self.compute(trainer, pl_module)
        network.train(was_training)

    def compute(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fit the statistics of a model, which is in evaluation mode, on the training images."""
        module: Any = pl_module
        deviation = module.model.deviation
        deviation.reset()
        dataset: Any = trainer.train_dataloader.dataset  # type: ignore[union-attr]
        own = range(trainer.global_rank, len(dataset), trainer.world_size)
        for _, teacher, student in training_features(trainer, module, own):
            deviation.update(teacher, student)
        deviation.compute(partial(trainer.strategy.reduce, reduce_op="sum"))


def training_features(
    trainer: Trainer, module: Any, indices: Sequence[int]
) -> Iterator[tuple[int, list[torch.Tensor], list[torch.Tensor]]]:
    """Yield features of training images, in order; images whose features are kept are not read.

    Args:
        trainer: The trainer.
        module: The model, with anomalib's pre-processor.
        indices: Which images, as indices into the data set.

    Yields:
        Number of images, and features of teacher and student for them, or for their tiles.
    """
    loader: Any = trainer.train_dataloader
    samples = getattr(loader.dataset, "samples", None)
    paths = [] if samples is None else [str(samples["image_path"].iloc[index]) for index in indices]
    if module.has_kept(paths):
        for start in range(0, len(paths), loader.batch_size):
            some = paths[start : start + loader.batch_size]
            with trainer.precision_plugin.val_step_context():
                teacher, student = module.distill_kept(some)
            yield len(some), teacher, student
        return
    for batch in training_batches(trainer, module, indices):
        with trainer.precision_plugin.val_step_context():
            teacher, student = module.distill_batch(batch)
        yield len(batch.image), teacher, student


def training_batches(trainer: Trainer, module: Any, indices: Sequence[int]) -> Iterator[Any]:
    """Yield training images as a training step gets them, in order.

    Args:
        trainer: The trainer.
        module: The model, with anomalib's pre-processor.
        indices: Which images, as indices into the data set.
    """
    loader: DataLoader = trainer.train_dataloader  # type: ignore[assignment]
    # A separate loader, since a loader in use must not be restarted.
    own = DataLoader(
        Subset(loader.dataset, indices),
        batch_size=loader.batch_size,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        # Not torch's global generator, which the training uses.
        generator=torch.Generator(),
    )
    for index, batch in enumerate(own):
        batch = trainer.strategy.batch_to_device(batch)
        if module.pre_processor:
            module.pre_processor.on_train_batch_start(trainer, module, batch, index)
        module.align_batch(batch)
        yield batch
