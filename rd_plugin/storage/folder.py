# SPDX-License-Identifier: Apache-2.0
"""Check that a folder can be written to and has enough space."""

import shutil
from pathlib import Path
from tempfile import TemporaryFile

from torch import nn

__all__ = ["check_folder", "state_size"]

_MIB = 2**20


def state_size(module: nn.Module) -> int:
    """Return the size of a model's weights and buffers as they are saved, in bytes."""
    return sum(tensor.nbytes for tensor in module.state_dict().values())


def check_folder(folder: str | Path, needed: int, argument: str) -> None:
    """Make sure that files can be written into a folder, before any work is done for them.

    Args:
        folder: The folder; need not exist yet.
        needed: Number of bytes that will be written.
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
            f"{str(folder)!r} needs {needed / _MIB:.0f} MiB of free space, but only {free / _MIB:.0f} MiB are free. "
            f"Free some space, or give another folder as {argument}."
        )
        raise OSError(msg)
