# SPDX-License-Identifier: Apache-2.0
"""Short words for the refusal of a file that could have run code.

torch's own text is a page long and recommends to switch the protection off.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

__all__ = ["short_refusal", "why_refused"]

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
