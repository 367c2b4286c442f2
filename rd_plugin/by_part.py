# SPDX-License-Identifier: Apache-2.0
"""Thresholds and ranges for each of several parts: a separate post-processor for each."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from anomalib.data import Batch, ImageBatch
from anomalib.post_processing import PostProcessor
from lightning.pytorch import LightningModule, Trainer
from pandas import Series
from torch import nn

from rd_plugin.data.batches import some_of
from rd_plugin.data.part_names import chosen_part, group_by_part

__all__ = ["PostProcessorByPart", "parts_in_use"]

_PREDICTED = ("pred_score", "anomaly_map", "pred_label", "pred_mask")


def parts_in_use(trainer: Trainer, module: LightningModule) -> tuple[str, ...]:
    """Return the names of the parts whose images a run uses; empty if it is not known to be several.

    Args:
        trainer: Its data module may have ``parts``.
        module: Its post-processor may have, too.
    """
    known = (getattr(trainer, "datamodule", None), getattr(module, "post_processor", None))
    return next(filter(None, (tuple(getattr(each, "parts", ())) for each in known)), ())


class PostProcessorByPart(PostProcessor):
    """anomalib's post-processor, which has one like itself for each part if the data module has ``parts``.

    The folders in an image's path name the part that it shows. The post-processor's own thresholds are then undefined,
    since one for all parts would have other false-alarm rates in each.

    Attributes:
        parts: Names of the parts; empty for a model of one part.
        part: The part that this one is for, if it is for one of several.
    """

    parts: tuple[str, ...] = ()
    part = ""

    @property
    def _checkpoint_config_keys(self) -> tuple[str, ...]:
        """Arguments that a checkpoint keeps."""
        return (*super()._checkpoint_config_keys, *(["parts"] if self.parts else []))

    def load_checkpoint_config(self, config: dict[str, Any]) -> None:
        """Restore the arguments that a checkpoint holds, and make room for the thresholds of its parts."""
        super().load_checkpoint_config({name: value for name, value in config.items() if name != "parts"})
        self.set_parts(config.get("parts", ()))

    def set_parts(self, names: Sequence[str]) -> None:
        """Make a post-processor for each part; those of the same parts stay."""
        had, self.parts = self.parts, ()
        settings = self.checkpoint_config()
        children = list(cast("Any", self.by_part)) if had and had == tuple(names) else [type(self)() for _ in names]
        for child, name in zip(children, names, strict=True):
            child.load_checkpoint_config(settings)
            child.part = name
        self.add_module("by_part", nn.ModuleList(children).to(self.image_min.device) if children else None)
        self.parts = tuple(names)

    def of(self, part: str | None = None) -> "PostProcessorByPart":
        """Return the post-processor of a part.

        Args:
            part: Its name; ``None`` for a model of one part.

        Raises:
            ValueError: If there is none of this name.
        """
        if part is None and not self.parts:
            return self
        place = self.parts.index(chosen_part(part, self.parts))
        return cast("Any", self.by_part)[place]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make a post-processor for each part of the data module.

        Raises:
            ValueError: If there are fewer images than processes, of a part, too: some would wait for others.
        """
        del pl_module
        datamodule = getattr(trainer, "datamodule", None)
        if datamodule is None:
            return
        self.set_parts(getattr(datamodule, "parts", ()))
        for split in ("val", "test") if trainer.world_size > 1 else ():
            samples = getattr(getattr(datamodule, f"{split}_data", None), "samples", None)
            if samples is None or not len(samples):
                continue
            counts = samples["part"].value_counts() if self.parts else Series({"it": len(samples)})
            if counts.min() < trainer.world_size:
                each = " of each part" if self.parts else ""
                msg = (
                    f"trainer.devices: {trainer.world_size} processes need at least as many images{each} in the "
                    f"{split} set; {counts.idxmin()} has {counts.min()}."
                )
                raise ValueError(msg)

    def split(self, batch: ImageBatch) -> Iterator[tuple["PostProcessorByPart", list[int], ImageBatch]]:
        """Yield the post-processors of a batch's parts, with the indices of their images, and these.

        Raises:
            ValueError: If no folder in an image's path is named after a part.
        """
        for name, indices in group_by_part(batch.image_path or [""] * batch.batch_size, self.parts).items():
            yield self.of(name), indices, some_of(batch, indices)

    def post_process_parts(self, hook: str, trainer: Trainer, pl_module: LightningModule, outputs: Batch) -> None:
        """Call a hook of each part's post-processor with its images, and write what they predict into the batch.

        Args:
            hook: ``"on_test_batch_end"`` or ``"on_predict_batch_end"``.
            trainer: The trainer.
            pl_module: The model.
            outputs: The batch.
        """
        batch = cast("ImageBatch", outputs)
        order, done = list[int](), list[ImageBatch]()
        for child, indices, some in self.split(batch):
            getattr(child, hook)(trainer, pl_module, some)
            order += indices
            done.append(some)
        back = torch.tensor(order).argsort()
        for field in _PREDICTED:
            values = [getattr(some, field) for some in done]
            if all(value is not None for value in values):
                joined = torch.cat(values)
                setattr(batch, field, joined[back.to(joined.device)])
