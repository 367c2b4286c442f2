# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that are written atomically."""

import io
from pathlib import Path
from typing import Any

import torch
from anomalib.engine.plugins.checkpoint_io import AnomalibCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins import TorchCheckpointIO

from rd_plugin.storage import atomic_file

__all__ = ["AtomicCheckpointIO", "AtomicCheckpoints"]


class AtomicCheckpointIO(AnomalibCheckpointIO):
    """anomalib's checkpoint plugin, which never leaves half a checkpoint.

    Lightning's own plugin writes into the system's folder for temporary files and moves the file from there. If that
    folder is on another disk, moving means copying over the last checkpoint: after a kill or on a full disk neither the
    old nor the new checkpoint is left. If writing is not permitted, Lightning reports nothing.

    Args:
        extra_safe_globals: Types that a checkpoint may hold in addition to anomalib's.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint next to ``path`` and rename it when it is complete.

        Args:
            checkpoint: What to write.
            path: Path of the file; Lightning handles paths with a protocol, such as ``s3://``.
            storage_options: Refused, as by Lightning.

        Raises:
            OSError: If the file cannot be written; an earlier file is kept.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        # When torch writes into a file by itself, it reports a full disk as an "unexpected pos" of its archive.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as partial:
            partial.write_bytes(buffer.getbuffer())


class AtomicCheckpoints(Callback):
    """Make the trainer write with :class:`AtomicCheckpointIO`, unless the user has chosen another plugin."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Replace the default plugin, Lightning's or anomalib's."""
        del stage
        if type(trainer.strategy.checkpoint_io) in {TorchCheckpointIO, AnomalibCheckpointIO}:
            trainer.strategy.checkpoint_io = AtomicCheckpointIO(pl_module.checkpoint_safe_globals())  # type: ignore[operator]
