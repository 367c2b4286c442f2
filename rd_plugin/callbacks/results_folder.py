# SPDX-License-Identifier: Apache-2.0
"""Say clearly that a folder cannot be written to or its disk is full, and what is kept of a run that is cut off."""

import errno
import logging
import signal
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from rd_plugin.storage import check_folder, state_size

__all__ = ["ResultsFolder"]

logger = logging.getLogger(__name__)

# What a write meets when there is no more space: on the disk, within a process's limit, within a user's quota.
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
# What a shell gives for a program that the signal has ended.
_TERMINATED = 128 + signal.SIGTERM


class ResultsFolder(Callback):
    """Stop before training if its checkpoints could not be written; say what is kept of a run that is cut off.

    A run that is told to stop (SIGTERM, or Ctrl+C) ends in an exit status other than 0, so that no program goes on with
    what it has not made.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look at the folder of the checkpoints, before anything is read or computed.

        Raises:
            OSError: If it cannot be written to or has too little space.
        """
        if stage != "fit" or not trainer.is_global_zero:
            return
        # Adam keeps two moments of each trained parameter, and a checkpoint is there until the next one is complete.
        moments = 2 * sum(parameter.nbytes for parameter in pl_module.parameters() if parameter.requires_grad)
        for folder in _checkpoint_folders(trainer):
            check_folder(folder, 2 * (state_size(pl_module) + moments), "default_root_dir")

    def on_predict_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Stop as told, which Lightning does between the batches of all other loops.

        Raises:
            SIGTERMException: If the process has received the signal.
        """
        del args, kwargs
        if trainer.received_sigterm:
            raise SIGTERMException

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Where a disk was full or the run was told to stop, say what is kept, and where it can go on from."""
        del pl_module
        if isinstance(exception, OSError) and exception.errno in _FULL:
            what = f"{exception.filename or trainer.default_root_dir} could not be written."
        elif isinstance(exception, SIGTERMException | KeyboardInterrupt):
            if isinstance(exception, SIGTERMException):
                # Lightning leaves the status of a program that has done its work.
                exception.code = _TERMINATED
            if trainer.state.fn != TrainerFn.FITTING:
                logger.error("The run was stopped.")
                return
            what = f"The run was stopped after step {trainer.global_step}."
        else:
            return
        files = [file for folder in _checkpoint_folders(trainer) for file in folder.glob("*.ckpt")]
        files += [Path(trainer.ckpt_path)] if trainer.ckpt_path else []
        last = max(filter(Path.is_file, files), key=lambda file: file.stat().st_mtime, default=None)
        if last:
            logger.error("%s The last good checkpoint is kept, %r; go on from it with --ckpt_path.", what, str(last))
        else:
            logger.error("%s There is no checkpoint yet.", what)


def _checkpoint_folders(trainer: Trainer) -> list[Path]:
    """Folders of the checkpoints, but for those behind a protocol, such as ``s3://``."""
    callbacks = (callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint))
    folders = {str(callback.dirpath or trainer.default_root_dir) for callback in callbacks}
    return [Path(folder) for folder in sorted(folders) if "://" not in folder]
