# SPDX-License-Identifier: Apache-2.0
"""Files of others, read without running code from them, or refused in a few words.

torch's own text is a page long and recommends to switch the protection off.
"""

import errno
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from anomalib.utils.serialization import anomalib_safe_globals

__all__ = ["check_checkpoint", "read_plain", "short_refusal", "why_refused"]

# How torch names a class or function that it refuses to unpickle.
_REFUSED = re.compile(r"nsupported (?:global: )?GLOBAL (\S+)")
# What Lightning looks up in a checkpoint before anything else.
_CHECKPOINT_KEYS = ("pytorch-lightning_version", "state_dict")


def why_refused(error: Exception) -> str:
    """Say why ``torch.load(..., weights_only=True)`` refused a file.

    Args:
        error: What ``torch.load`` raised.

    Example:
        >>> why_refused(RuntimeError("Trying to load unsupported GLOBAL posix.system whose module is blocked."))
        'it holds posix.system, and what could run code is never loaded'
        >>> why_refused(EOFError("Ran out of input"))
        'it is empty or cut off'
    """
    if found := _REFUSED.search(str(error)):
        return f"it holds {found[1]}, and what could run code is never loaded"
    if isinstance(error, EOFError | OSError) or "central directory" in str(error):
        return "it is empty or cut off"
    return f"it is no torch.save file of plain data ({type(error).__name__}), and what could run code is never loaded"


def read_plain(path: str | Path, safe_globals: Sequence[Any] = (), mmap: bool = False) -> Any:
    """Read what ``torch.save`` has written, onto the CPU.

    Args:
        path: The file.
        safe_globals: Classes that it may hold beside tensors, plain values and anomalib's own.
        mmap: Whether tensors stay in the file until they are used, which reads plain values alone.

    Raises:
        OSError: If there is no such file, or it may not be read.
        ValueError: If it is no such file, or holds more.
    """
    with short_refusal(path), anomalib_safe_globals(extra=safe_globals):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)


@contextmanager
def short_refusal(path: str | Path) -> Iterator[None]:
    """Within a ``with`` block that reads a file by ``torch.load`` and does nothing else, raise a short error.

    Args:
        path: The file.

    Raises:
        OSError: If there is no such file, or it may not be read.
        ValueError: If it is no torch file, or holds more than plain data.
    """
    try:
        yield
    except Exception as error:  # torch, zipfile and the unpickler all raise their own kinds
        # Reading beyond a file's end is an invalid argument to the system.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        msg = f"{str(path)!r} was refused: {why_refused(error)}."
        raise ValueError(msg) from None


def check_checkpoint(path: str | Path, content: object) -> None:
    """Check that what a file held is a Lightning checkpoint.

    Args:
        path: The file.
        content: What :func:`read_plain` or ``torch.load`` returned.

    Raises:
        ValueError: If it is none.
    """
    missing = [key for key in _CHECKPOINT_KEYS if not isinstance(content, Mapping) or key not in content]
    if missing:
        msg = (
            f"{str(path)!r} was refused: it is no Lightning checkpoint, since it holds no {missing[0]!r}. What other "
            "programs have trained can be converted by rd-plugin convert."
        )
        raise ValueError(msg)
