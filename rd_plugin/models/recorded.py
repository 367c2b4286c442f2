# SPDX-License-Identifier: Apache-2.0
"""The model of a checkpoint, from the record that it holds."""

from pathlib import Path
from typing import Any, NamedTuple

from rd_plugin.provenance import RECORD_KEY, Provenance
from rd_plugin.storage import read_plain

from . import METHODS
from .distillation import Distillation

__all__ = ["Recorded", "read_recorded"]


class Recorded(NamedTuple):
    """The model that a checkpoint holds.

    Args:
        method: The model's class.
        record: Its record.
        plain: The record as the checkpoint holds it, which may be from an earlier version.
    """

    method: type[Distillation]
    record: Provenance
    plain: dict[str, Any]


def read_recorded(checkpoint: str | Path) -> Recorded | None:
    """Read a checkpoint's record, without its weights.

    Args:
        checkpoint: The file.

    Returns:
        The model and its record; ``None`` if it is not one of the package's models.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it holds more than plain data.
    """
    content = read_plain(checkpoint, Distillation.checkpoint_safe_globals(), mmap=True)
    record = Provenance.of(content) if isinstance(content, dict) else None
    method = next((method for method in METHODS if record is not None and method.__name__ == record.method), None)
    return None if record is None or method is None else Recorded(method, record, content[RECORD_KEY])
