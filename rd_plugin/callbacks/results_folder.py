# SPDX-License-Identifier: Apache-2.0
"""Say clearly that a folder cannot be written to or its disk is full, and what is kept of a run that is cut off."""

import errno
import logging
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch.distributed
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from rd_plugin.storage import check_folder, state_size

from .courtesy import courtesy

__all__ = ["ResultsFolder", "keep_to_own_run", "relink_newest"]

logger = logging.getLogger(__name__)

# What a write meets when there is no more space: on the disk, within a process's limit, within a user's quota.
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
# anomalib's link to the newest run.
_NEWEST = "latest"
# What a shell gives for a program that the signal has ended.
_TERMINATED = 128 + signal.SIGTERM
# Of a process that has lost the others.
_LOST = 1


def keep_to_own_run(trainer: Trainer) -> None:
    """Write the results of a test or prediction next to their checkpoint.

    anomalib writes them into the newest run, over its results and its configuration. A folder that was given explicitly
    is used. If the checkpoint's folder cannot be written to, or there is no run yet, a new one is made.
    """
    # Lightning knows the checkpoint when it loads it; its command line has written its configuration by then.
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    given = [entry.config.get("ckpt_path") for entry in callbacks if type(entry).__name__ == "SaveConfigCallback"]
    checkpoint = trainer.ckpt_path or next(filter(None, given), None)
    root = Path(trainer.default_root_dir)
    if trainer.state.fn == TrainerFn.FITTING or not checkpoint or "://" in str(checkpoint):
        return
    own = _run_folder(Path(checkpoint).resolve())
    is_other_run = (root / "weights").is_dir() and own != root.resolve()
    is_no_run = root.name == _NEWEST and not root.exists()
    if is_other_run and os.access(own, os.W_OK):
        root = own
    elif is_other_run or is_no_run:
        numbers = [int(path.name[1:]) for path in root.parent.glob("v*") if path.name[1:].isdecimal()]
        root = root.with_name(f"v{max(numbers, default=-1) + 1}")
    # Lightning allows setting it only in the constructor.
    trainer._default_root_dir = str(root)  # type: ignore[attr-defined]  # noqa: SLF001


def _take_first_folder(trainer: Trainer) -> None:
    """Write into the folder of the first process; anomalib has made one for each."""
    own, first = trainer.default_root_dir, trainer.strategy.broadcast(trainer.default_root_dir)
    if own != first:
        with suppress(OSError):  # another process may have had the same, or the folder has been written to
            Path(own).rmdir()
        # As above.
        trainer._default_root_dir = first  # type: ignore[attr-defined]  # noqa: SLF001


def _run_folder(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint belongs to."""
    return checkpoint.parents[2] if checkpoint.parts[-3:-1] == ("weights", "lightning") else checkpoint.parent


def relink_newest(run: Path, others: bool = False) -> None:
    """Make anomalib's absolute link to the newest run relative, so that the folder can be moved or copied.

    Args:
        run: The folder of a run that begins.
        others: Whether other processes of the run may have made the link.
    """
    link = run.parent / _NEWEST
    if not link.is_symlink() or not link.readlink().is_absolute():
        return
    if link.resolve() != run.resolve() and not others:
        return
    with courtesy(f"The relative link {link}"):
        new = link.with_name(f".{_NEWEST}.partial")
        new.unlink(missing_ok=True)
        new.symlink_to(run.name, target_is_directory=True)
        new.replace(link)


class ResultsFolder(Callback):
    """Stop before training if its checkpoints could not be written; say what is kept of a run that is cut off.

    A run that a signal stops (SIGTERM, or Ctrl+C) ends with an exit status other than 0, so that no program continues
    with files that do not exist.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look at the folder of the checkpoints, before anything is read or computed.

        Raises:
            OSError: If it cannot be written to or has too little space.
        """
        if stage != "fit":
            return
        if trainer.world_size > 1:
            _take_first_folder(trainer)
        if not trainer.is_global_zero:
            return
        relink_newest(Path(trainer.default_root_dir), others=trainer.world_size > 1)
        # Adam keeps two moments of each trained parameter, and a checkpoint is there until the next one is complete.
        moments = 2 * sum(parameter.nbytes for parameter in pl_module.parameters() if parameter.requires_grad)
        for folder in _checkpoint_folders(trainer):
            check_folder(folder, 2 * (state_size(pl_module) + moments), "default_root_dir")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the results next to the checkpoint, which is known by now."""
        del pl_module
        keep_to_own_run(trainer)

    on_predict_start = on_test_start

    def on_predict_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Stop after a signal, which Lightning does between the batches of all other loops.

        Raises:
            SIGTERMException: If the process has received the signal.
        """
        del args, kwargs
        if trainer.received_sigterm:
            raise SIGTERMException

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """If a disk was full or the run was stopped, say what is kept, and where the run can continue.

        Raises:
            SystemExit: If another process of the run has ended, without which this one cannot continue.
        """
        del pl_module
        lost = trainer.world_size > 1 and _is_lost_connection(exception)
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
        elif lost:
            what = (
                f"Process {trainer.global_rank} of {trainer.world_size} was stopped after step {trainer.global_step}: "
                "another one has ended."
            )
        else:
            return
        files = [file for folder in _checkpoint_folders(trainer) for file in folder.glob("*.ckpt")]
        files += [Path(trainer.ckpt_path)] if trainer.ckpt_path else []
        last = max(filter(Path.is_file, files), key=lambda file: file.stat().st_mtime, default=None)
        if last:
            logger.error("%s The last good checkpoint is kept, %r; continue from it with --ckpt_path.", what, str(last))
        else:
            logger.error("%s There is no checkpoint yet.", what)
        if lost:
            # Not the connection's error, which says less, nor Lightning's last barrier, which no other process reaches.
            raise SystemExit(_LOST) from exception


def _is_lost_connection(exception: BaseException) -> bool:
    """Whether another process can no longer be reached; Gloo has no error of its own."""
    return isinstance(exception, torch.distributed.DistError) or (
        isinstance(exception, RuntimeError) and "gloo" in str(exception).lower()
    )


def _checkpoint_folders(trainer: Trainer) -> list[Path]:
    """Folders of the checkpoints, but for those behind a protocol, such as ``s3://``."""
    callbacks = (callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint))
    folders = {str(callback.dirpath or trainer.default_root_dir) for callback in callbacks}
    return [Path(folder) for folder in sorted(folders) if "://" not in folder]
