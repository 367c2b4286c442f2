# SPDX-License-Identifier: Apache-2.0
"""The sums of a checkpoint's training images, in a file next to it: only an update needs them, and they are large."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rd_plugin.storage import atomic_file, read_plain

from .record import hash_weights

__all__ = ["copied_sums", "read_sums", "split_sums", "sums_file", "write_sums"]

# Where a checkpoint holds the state of the callback that adds up training images, and what it computes from the sums.
_CALLBACKS, _STATE, _COMPUTED = "callbacks", "FusedStatistics", "model.evidence."


def sums_file(checkpoint: str | Path) -> Path:
    """Return the path of the sums of a checkpoint.

    Example:
        >>> sums_file("model.ckpt").name
        'model.ckpt.sums'
    """
    return Path(f"{checkpoint}.sums")


def split_sums(checkpoint: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return a checkpoint's content without the sums, and the sums; these are empty if it has none."""
    states = checkpoint.get(_CALLBACKS, {})
    sums = states.get(_STATE) or {}
    return {**checkpoint, _CALLBACKS: {**states, _STATE: {}}} if sums else {**checkpoint}, sums


def write_sums(path: str | Path, checkpoint: Mapping[str, Any], sums: Mapping[str, Any]) -> None:
    """Write the sums of a checkpoint atomically.

    Raises:
        OSError: If the file cannot be written; an earlier one stays.
    """
    with atomic_file(sums_file(path)) as partial:
        torch.save({"statistics": _digest(checkpoint), "sums": dict(sums)}, partial)


def read_sums(path: str | Path, checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the sums of a checkpoint.

    Args:
        path: The checkpoint.
        checkpoint: Its content; on a remote file system it holds the sums itself.

    Raises:
        OSError: If the file of the sums cannot be read.
        ValueError: If there is none, or it belongs to another checkpoint.
    """
    if sums := split_sums(checkpoint)[1]:
        return sums
    # A link to a checkpoint, such as Lightning's last.ckpt, has no sums of its own.
    file = next((file for file in map(sums_file, (path, Path(path).resolve())) if file.is_file()), None)
    if file is None:
        msg = (
            f"{str(sums_file(path))!r} is missing: the sums of the training images, which an update extends. "
            "Copy it from where the checkpoint was written; a checkpoint of version 0.2 has none: train again."
        )
        raise ValueError(msg)
    content = read_plain(file)
    if not isinstance(content, dict) or content.get("statistics") != _digest(checkpoint):
        msg = f"{str(file)!r} does not belong to {str(path)!r}: copy the file that was written with the checkpoint."
        raise ValueError(msg)
    return content["sums"]


@contextmanager
def copied_sums(source: str | Path, target: str | Path) -> Iterator[None]:
    """Copy the sums of a checkpoint to a copy of it that the block writes, which has the same statistics.

    If the block fails, what was there stays.

    Raises:
        OSError: If the file cannot be written.
    """
    old, new = sums_file(source), sums_file(target)
    if old == new or not old.is_file():
        yield
        if old != new:
            # Those of another checkpoint that was at the same place.
            new.unlink(missing_ok=True)
        return
    with atomic_file(new) as partial:
        shutil.copyfile(old, partial)
        yield


def _digest(checkpoint: Mapping[str, Any]) -> str:
    """Hash of what was computed from the sums, which neither a threshold nor a rule changes."""
    state = checkpoint.get("state_dict", {})
    return hash_weights({name: tensor for name, tensor in state.items() if name.startswith(_COMPUTED)})
