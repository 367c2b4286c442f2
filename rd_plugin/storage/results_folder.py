# SPDX-License-Identifier: Apache-2.0
"""Say clearly that a folder cannot be written to, or that its disk is full."""

import errno
import logging
import shutil
from pathlib import Path
from tempfile import TemporaryFile

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

__all__ = ["ResultsFolder", "check_folder", "state_size"]

logger = logging.getLogger(__name__)

# What a write meets when there is no more space: on the disk, within a process's limit, within a user's quota.
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_MIB = 2**20


def state_size(module: LightningModule) -> int:
    """Return the size of a model's weights and buffers as they are saved, in bytes."""
    return sum(tensor.nbytes for tensor in module.state_dict().values())


def check_folder(folder: str | Path, needed: int, argument: str) -> None:
    """Make sure that files can be written into a folder, before any work is done for them.

    Args:
        folder: The folder; need not exist yet.
        needed: How much is going to be written, in bytes.
        argument: The argument that names the folder, for the message.

    Raises:
        OSError: If the folder cannot be made or written to, or its disk has less space than ``needed``.
    """
    folder = Path(folder).absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free
    except OSError as error:
        msg = f"{str(folder)!r} cannot be written to: {error.strerror}. Give another folder as {argument}."
        raise OSError(msg) from error
    if free < needed:
        msg = (
            f"{str(folder)!r} needs {needed / _MIB:.0f} MiB of free space, {free / _MIB:.0f} MiB are free. "
            f"Free some, or give another folder as {argument}."
        )
        raise OSError(msg)


class ResultsFolder(Callback):
    """Stop before training if its checkpoints could not be written; say what is kept if the disk is full later."""

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

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Where a disk was full, say what is kept, and where the run can go on from."""
        del pl_module
        if not isinstance(exception, OSError) or exception.errno not in _FULL:
            return
        files = [file for folder in _checkpoint_folders(trainer) for file in folder.glob("*.ckpt")]
        files += [Path(trainer.ckpt_path)] if trainer.ckpt_path else []
        last = max(filter(Path.is_file, files), key=lambda file: file.stat().st_mtime, default=None)
        kept = f"The last good checkpoint is kept, {str(last)!r}" if last else "There is no checkpoint yet"
        logger.error("%s could not be written. %s.", exception.filename or trainer.default_root_dir, kept)


def _checkpoint_folders(trainer: Trainer) -> list[Path]:
    """Folders of the checkpoints, but for those behind a protocol, such as ``s3://``."""
    callbacks = (callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint))
    folders = {str(callback.dirpath or trainer.default_root_dir) for callback in callbacks}
    return [Path(folder) for folder in sorted(folders) if "://" not in folder]
