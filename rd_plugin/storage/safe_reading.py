# SPDX-License-Identifier: Apache-2.0
"""Read files without running code from them, with short error messages.

torch's own message is a page long and recommends switching the protection off.
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

# How torch's message names a class or function that it does not unpickle.
_REFUSED = re.compile(r"nsupported (?:global: )?GLOBAL (\S+)")
# The keys that Lightning reads first in a checkpoint.
_CHECKPOINT_KEYS = ("pytorch-lightning_version", "state_dict")


def why_refused(error: Exception) -> str:
    """Explain why ``torch.load(..., weights_only=True)`` refused a file.

    Args:
        error: The error of ``torch.load``.

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
    return (
        f"it is not a torch.save file of plain data ({type(error).__name__}), and what could run code is never loaded"
    )


def read_plain(path: str | Path, safe_globals: Sequence[Any] = (), mmap: bool = False) -> Any:
    """Read a file of ``torch.save``, onto the CPU.

    Args:
        path: The file.
        safe_globals: Classes that it may hold in addition to tensors, plain values and anomalib's own classes.
        mmap: Whether tensors stay in the file until they are used, so that only plain values are read.

    Raises:
        OSError: If the file does not exist, or may not be read.
        ValueError: If it is not such a file, or holds more than that.
    """
    with short_refusal(path), anomalib_safe_globals(extra=safe_globals):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)


@contextmanager
def short_refusal(path: str | Path) -> Iterator[None]:
    """Shorten the errors of a ``with`` block that only reads a file with ``torch.load``.

    Args:
        path: The file.

    Raises:
        OSError: If the file does not exist, or may not be read.
        ValueError: If it is not a torch file, or holds more than plain data.
    """
    try:
        yield
    except Exception as error:  # torch, zipfile and the unpickler raise errors of their own types
        # The system reports reading beyond a file's end as an invalid argument.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        msg = f"{str(path)!r} was refused: {why_refused(error)}."
        raise ValueError(msg) from None


def check_checkpoint(path: str | Path, content: object) -> None:
    """Check that the content of a file is a Lightning checkpoint.

    Args:
        path: The file.
        content: The result of :func:`read_plain` or ``torch.load``.

    Raises:
        ValueError: If it is not a Lightning checkpoint.
    """
    missing = [key for key in _CHECKPOINT_KEYS if not isinstance(content, Mapping) or key not in content]
    if missing:
        msg = (
            f"{str(path)!r} was refused: it is not a Lightning checkpoint, since it holds no {missing[0]!r}. Files of "
            "other programs can be converted with rd-plugin convert."
        )
        raise ValueError(msg)
