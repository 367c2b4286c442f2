# SPDX-License-Identifier: Apache-2.0
"""Which of the package's models a checkpoint is of, by the record that it holds."""

from pathlib import Path
from typing import Any, NamedTuple

from rd_plugin.provenance import RECORD_KEY, Provenance
from rd_plugin.storage import read_plain

from . import METHODS
from .distillation import Distillation

__all__ = ["Recorded", "read_recorded"]


class Recorded(NamedTuple):
    """What a checkpoint says of its model.

    Args:
        method: The model's class.
        record: Its record.
        plain: The record as the checkpoint holds it, which may be that of an earlier version.
    """

    method: type[Distillation]
    record: Provenance
    plain: dict[str, Any]


def read_recorded(checkpoint: str | Path) -> Recorded | None:
    """Read a checkpoint's record, and not its weights.

    Args:
        checkpoint: The file.

    Returns:
        What it says; ``None`` if it is not of one of the package's models.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it holds more than plain data.
    """
    content = read_plain(checkpoint, Distillation.checkpoint_safe_globals(), mmap=True)
    record = Provenance.of(content) if isinstance(content, dict) else None
    method = next((method for method in METHODS if record is not None and method.__name__ == record.method), None)
    return None if record is None or method is None else Recorded(method, record, content[RECORD_KEY])
