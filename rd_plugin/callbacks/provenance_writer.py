# SPDX-License-Identifier: Apache-2.0
"""Record what a model is trained on, and write the record and its sums next to each of its checkpoints."""

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from anomalib.data import AnomalibDataModule
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer

from rd_plugin.data.check import fingerprint, held_out_images, memory_file
from rd_plugin.provenance import (
    Provenance,
    RecordedModule,
    hash_weights,
    installed_versions,
    record_file,
    split_sums,
    sums_file,
    write_record,
    write_sums,
)
from rd_plugin.storage import check_checkpoint, short_refusal

from .callback_states import pack_states, unpack_states
from .courtesy import courtesy

__all__ = ["ProvenanceWriter", "RecordedCheckpointIO"]

logger = logging.getLogger(__name__)


class RecordedCheckpointIO(CheckpointIO):
    """Lightning's checkpoint plugin, with a record and sums next to each checkpoint and short error messages.

    The record is that of the checkpoint, as JSON. The sums of training images, which only an update needs, are taken
    out of the checkpoint. Both files are removed together with their checkpoint. A checkpoint that is not on a local
    file system has no such files, and holds the sums itself.

    Args:
        base: The plugin that reads and writes the checkpoints.
    """

    def __init__(self, base: CheckpointIO) -> None:
        self.base = base

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, *args: Any, **kwargs: Any) -> None:
        """Write a checkpoint, and then record and sums; it only warns if one of these cannot be written."""
        if not _is_local(path):
            self.base.save_checkpoint(pack_states(checkpoint), path, *args, **kwargs)
            return
        checkpoint, sums = split_sums(checkpoint)
        self.base.save_checkpoint(pack_states(checkpoint), path, *args, **kwargs)
        with courtesy(f"The sums of {path}"):
            # Old files next to a new checkpoint would be worse than none.
            sums_file(path).unlink(missing_ok=True)
            if sums:
                write_sums(path, checkpoint, sums)
        record = Provenance.of(checkpoint)
        if record is None:
            return
        file = record_file(path)
        with courtesy(f"The record of {path}"):
            file.unlink(missing_ok=True)
            write_record(file, record.plain())

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read a checkpoint, without running code from it unless ``weights_only=False`` is given.

        Raises:
            ValueError: If the file is not a checkpoint, or holds more than plain data.
        """
        if kwargs.get("weights_only") is None:
            kwargs["weights_only"] = True
        with short_refusal(path):
            content = self.base.load_checkpoint(path, *args, **kwargs)
        check_checkpoint(path, content)
        unpack_states(content, trusted=not kwargs["weights_only"])
        return content

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint, its record and its sums."""
        self.base.remove_checkpoint(path)
        if _is_local(path):
            record_file(path).unlink(missing_ok=True)
            sums_file(path).unlink(missing_ok=True)

    def teardown(self) -> None:
        """Tear down the wrapped plugin."""
        self.base.teardown()


def _is_local(path: str | Path) -> bool:
    """Whether a checkpoint's path is a local file, not a URL for fsspec."""
    return "://" not in str(path)


class ProvenanceWriter(Callback):
    """Record what a model is trained on, and write the record next to each of its checkpoints.

    For a :class:`~rd_plugin.provenance.RecordedModule`.

    Args:
        fingerprint: Whether the record holds a fingerprint of the training images and hashes of those held out. They
            are computed from the results of :class:`~rd_plugin.callbacks.DataCheck`; without these, every file would
            have to be read.
    """

    def __init__(self, fingerprint: bool = True) -> None:
        self.fingerprint = fingerprint

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Wrap the trainer's checkpoint plugin, before the first checkpoint is read."""
        del pl_module, stage
        checkpoint_io = trainer.strategy.checkpoint_io
        if not isinstance(checkpoint_io, RecordedCheckpointIO):
            trainer.strategy.checkpoint_io = RecordedCheckpointIO(checkpoint_io)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record seed, teacher, data and versions; when a run is resumed, log what has changed."""
        if trainer.is_global_zero:
            with courtesy("The record of the environment"):
                self._record(trainer, cast("RecordedModule", pl_module))

    def _record(self, trainer: Trainer, model: RecordedModule) -> None:
        known = model.provenance or Provenance()
        seed = os.environ.get("PL_GLOBAL_SEED")
        record = replace(
            known,
            seed=None if seed is None else int(seed),
            teacher=hash_weights(model.frozen_network.state_dict()),
            data=_describe_data(trainer, fingerprinted=self.fingerprint),
            versions=installed_versions(),
        )
        for what, before, after in (
            ("pre-trained weights", known.teacher, record.teacher),
            ("training images", known.fingerprint, record.fingerprint),
        ):
            if before is not None and after is not None and before != after:
                logger.warning("The training continues with other %s than before.", what)
        model.provenance = record


def _describe_data(trainer: Trainer, fingerprinted: bool) -> dict[str, Any] | None:
    """Describe the data module and its training images; ``None`` without an anomalib data module."""
    datamodule = getattr(trainer, "datamodule", None)
    if not isinstance(datamodule, AnomalibDataModule):
        return None
    return {
        "module": type(datamodule).__name__,
        "root": getattr(datamodule, "root", None),
        "category": getattr(datamodule, "category", None),
        "split_seed": datamodule.seed,
        "images": len(datamodule.train_data),
        "fingerprint": fingerprint(datamodule, memory_file(trainer)) if fingerprinted else None,
        "held_out": held_out_images(datamodule, memory_file(trainer)) if fingerprinted else [],
    }
