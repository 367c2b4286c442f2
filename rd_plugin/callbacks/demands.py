# SPDX-License-Identifier: Apache-2.0
"""Requirements of a model on precision, image size, region, batches and monitors, checked before data are read."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast

import torch
from anomalib.data import AnomalibDataModule, AnomalibDataset
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from PIL import Image
from torch.utils.data import BatchSampler, DataLoader

from rd_plugin.data.check import datasets
from rd_plugin.data.crop_steps import crop_steps
from rd_plugin.storage import local_copy

__all__ = ["Demands"]

logger = logging.getLogger(__name__)

# Other precisions change the type of the weights, but not that of anomalib's batches and components.
_PRECISIONS = {"32-true", "16-mixed", "bf16-mixed"}
_FROM_TESTS = ("F1Score", "AUPRO")
# What the package's models and Lightning log in addition to metrics.
_LOGGED = {"train_loss", "teacher_loss", "student_loss", "distillation_loss", "projection_loss", "epoch", "step"}
_KNOWN_PACKAGES = {"lightning", "anomalib", "rd_plugin"}


class Demands(Callback):
    """Check a model's requirements before the first step.

    Precisions that change the type of the weights, image sizes that the backbone does not accept,
    images of another aspect ratio than the region of interest, and monitors that are
    never logged are errors. If batch normalization would get a single value of each channel, a last batch of one image
    is left out of each epoch. A data module without a validation set trains without thresholds.
    """

    def __init__(self) -> None:
        self._single = False
        self._replaced: list[tuple[LightningDataModule, str]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the trainer's arguments, the image size and the splits.

        Raises:
            ValueError: If an argument cannot work; the message names it, its value and accepted values.
        """
        if trainer.precision not in _PRECISIONS:
            msg = (
                f"trainer.precision must be one of {', '.join(sorted(_PRECISIONS))}, got {trainer.precision!r}: "
                "anomalib's batches stay in 32 bits."
            )
            raise ValueError(msg)
        datamodule = getattr(trainer, "datamodule", None)
        if isinstance(datamodule, AnomalibDataModule) and not hasattr(datamodule, "val_data"):
            logger.info("The data have no validation set: no thresholds are set.")
            self._replace(datamodule, "val_dataloader", _no_batches)
        _check_pre_processor(pl_module.pre_processor)
        if isinstance(datamodule, AnomalibDataModule):
            _check_region(pl_module, datamodule)
        if stage == "fit":
            self._single = _single_position(pl_module)
            if self._single and isinstance(datamodule, LightningDataModule):
                loader = datamodule.train_dataloader
                self._replace(datamodule, "train_dataloader", lambda: _without_single(loader()))
            _check_monitors(trainer, pl_module)

    def _replace(self, datamodule: LightningDataModule, name: str, function: Callable[[], Any]) -> None:
        setattr(datamodule, name, function)
        self._replaced.append((datamodule, name))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the batches.

        Raises:
            ValueError: If a batch holds a single image, and batch normalization needs two.
        """
        loader = trainer.train_dataloader
        sampler = loader.batch_sampler if isinstance(loader, DataLoader) else None
        if not self._single or not isinstance(sampler, BatchSampler) or trainer.num_training_batches < len(sampler):
            return
        if _smallest(sampler) == 1:
            count, size = len(cast("Any", sampler.sampler)), sampler.batch_size
            msg = (
                f"train_batch_size {size} makes a batch of a single one of {count} images, and at image_size "
                f"{pl_module.resized_to} batch normalization needs two: choose another, or larger images."
            )
            raise ValueError(msg)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore the data module."""
        del trainer, pl_module, stage
        while self._replaced:
            delattr(*self._replaced.pop())


# Lightning inspects the code of a function that replaces a hook.
def _no_batches() -> list[Any]:
    return []


def _check_pre_processor(pre_processor: Any) -> None:
    """Check that images are floating-point numbers after the pre-processor.

    Raises:
        ValueError: If they are not.
    """
    try:
        made = pre_processor(torch.zeros(1, 3, 64, 64))
    except Exception:  # there is none, or a user's own does not accept this size
        return
    if not made.is_floating_point():
        msg = f"pre_processor must return floating-point images, got {made.dtype}: remove the conversion."
        raise ValueError(msg)


def _single_position(module: Any) -> bool:
    """Whether the embedding of an image has one position.

    Raises:
        ValueError: If the backbone does not accept the size that images are resized to, or that of their tiles.
    """
    size, tiler = module.resized_to, module.model.tiler
    if size is None:
        return False
    if tiler is None:
        return module.model.teacher.embedding_positions(size) == 1
    one = module.model.teacher.embedding_positions(tiler.size, "tile_size") == 1
    return one and tiler.count(size) == 1


def _smallest(sampler: BatchSampler) -> int:
    """Number of images in the smallest batch."""
    count, size = len(cast("Any", sampler.sampler)), sampler.batch_size
    rest = 0 if sampler.drop_last else count % size
    return rest or min(count, size)


def _without_single(loader: Any) -> Any:
    """Make a loader drop a last batch of a single image."""
    sampler = loader.batch_sampler if isinstance(loader, DataLoader) else None
    if isinstance(sampler, BatchSampler) and _smallest(sampler) == 1 and len(sampler) > 1 and sampler.batch_size > 1:
        logger.info("The last batch of each epoch, a single image, is left out: batch normalization needs two.")
        sampler.drop_last = True
    return loader


def _check_region(model: Any, datamodule: AnomalibDataModule) -> None:
    """Check that all images have the aspect ratio of the region of interest, by the files' headers.

    Raises:
        ValueError: If one has another; the message names it. If the pre-processor crops or pads.
    """
    mask = getattr(getattr(model, "model", None), "roi", None)
    if mask is None:
        return
    if crop_steps(getattr(getattr(model, "pre_processor", None), "transform", None)):
        msg = "roi needs a pre-processor that shows whole images: this one crops or pads. Let roi exclude the rest."
        raise ValueError(msg)
    for dataset in datasets(datamodule).values():
        for path in cast("AnomalibDataset", dataset).samples["image_path"]:
            # Files that cannot be read are the data check's.
            with suppress(OSError), local_copy(path) as file, Image.open(file) as image:
                mask.region.check_aspect((image.height, image.width), str(path))


def _check_monitors(trainer: Trainer, module: LightningModule) -> None:
    """Check that the metrics that callbacks monitor will be logged.

    Raises:
        ValueError: If one of the package's metrics is not measured on the validation set.
    """
    callbacks = cast("Sequence[Callback]", trainer.callbacks)  # type: ignore[attr-defined]
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if not isinstance(callback, EarlyStopping | Checkpoint) or monitor is None:
            continue
        if reason := _why_not_logged(str(monitor), trainer, module):
            msg = (
                f"trainer.callbacks: {type(callback).__name__} monitors {monitor!r}, which {reason}. Monitor the loss, "
                "or image_AUROC with a validation set that has normal images and defects."
            )
            raise ValueError(msg)


def _why_not_logged(monitor: str, trainer: Trainer, module: Any) -> str | None:
    """The reason why a metric is not logged in a training; ``None`` if it is logged, or if that is unknown."""
    evaluator = module.evaluator
    measured = {metric.name for metric in getattr(evaluator, "val_metrics", ())}
    tested = {metric.name for metric in getattr(evaluator, "test_metrics", ())}
    if monitor not in measured:
        if monitor in tested or monitor.endswith(_FROM_TESTS):
            return "is measured in tests only"
        known = monitor.removesuffix("_step").removesuffix("_epoch") in _LOGGED
        return None if known or _others_log(trainer, module) else "is never logged"
    datamodule = getattr(trainer, "datamodule", None)
    if not isinstance(datamodule, AnomalibDataModule):
        return None
    validation = getattr(datamodule, "val_data", None)
    if validation is None:
        return "is measured on a validation set, and there is none"
    if set(validation.samples["label_index"]) != {0, 1}:
        return "is not defined on the validation set, whose images are all normal or all defects"
    return None


def _others_log(trainer: Trainer, module: LightningModule) -> bool:
    """Whether a callback or a model of the user's own may log more than is known here."""
    every = [module, *trainer.callbacks]  # type: ignore[attr-defined]
    return not {type(entry).__module__.partition(".")[0] for entry in every} <= _KNOWN_PACKAGES
