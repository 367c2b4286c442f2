# SPDX-License-Identifier: Apache-2.0
"""Which of the package's models a checkpoint is of, by the record that it holds."""

from pathlib import Path
from typing import Any, NamedTuple

from rd_plugin.provenance import RECORD_KEY, Provenance
from rd_plugin.storage import read_plain

from .distillation import Distillation
from .expert_reverse_distillation import ExpertReverseDistillation
from .fused_reverse_distillation import FusedReverseDistillation
from .reverse_distillation import ReverseDistillation

__all__ = ["METHODS", "Recorded", "read_recorded"]

METHODS: dict[str, type[Distillation]] = {
    method.__name__: method for method in (ReverseDistillation, ExpertReverseDistillation, FusedReverseDistillation)
}


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
    if record is None or record.method not in METHODS:
        return None
    return Recorded(METHODS[record.method], record, content[RECORD_KEY])
