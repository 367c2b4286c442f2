# SPDX-License-Identifier: Apache-2.0
"""Files of others, read without running code from them, or refused in a few words.

torch's own text is a page long and recommends to switch the protection off.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from anomalib.utils.serialization import anomalib_safe_globals

__all__ = ["read_plain", "short_refusal", "why_refused"]

# How torch names a class or function that it refuses to unpickle.
_REFUSED = re.compile(r"nsupported (?:global: )?GLOBAL (\S+)")


def why_refused(error: Exception) -> str:
    """Say why ``torch.load(..., weights_only=True)`` refused a file.

    Args:
        error: What ``torch.load`` raised.

    Example:
        >>> why_refused(UnpicklingError("Trying to load unsupported GLOBAL posix.system whose module is blocked."))
        'it holds posix.system, and what could run code is never loaded'
    """
    found = _REFUSED.search(str(error))
    wrong = f"it holds {found[1]}" if found else f"it is no torch.save file of plain data ({type(error).__name__})"
    return f"{wrong}, and what could run code is never loaded"


def read_plain(path: str | Path, safe_globals: Sequence[Any] = ()) -> Any:
    """Read what ``torch.save`` has written, onto the CPU.

    Args:
        path: The file.
        safe_globals: Classes that it may hold beside tensors, plain values and anomalib's own.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, or holds more.
    """
    try:
        with anomalib_safe_globals(extra=safe_globals):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # torch, zipfile and the unpickler all raise their own kinds
        msg = f"{str(path)!r} was refused: {why_refused(error)}."
        raise ValueError(msg) from error


@contextmanager
def short_refusal(path: str | Path) -> Iterator[None]:
    """Within a ``with`` block that reads a checkpoint, raise a short error in place of torch's.

    Args:
        path: The checkpoint.

    Raises:
        ValueError: If the checkpoint holds more than plain data.
    """
    try:
        yield
    except UnpicklingError as error:
        msg = f"checkpoint {str(path)!r} was refused: {why_refused(error)}."
        raise ValueError(msg) from None
