# SPDX-License-Identifier: Apache-2.0
"""Where a model comes from: its record, the module that keeps it, and what writes it beside checkpoints."""

from .module import RecordedModule, resizing
from .record import (
    RECORD_KEY,
    Provenance,
    hash_export,
    hash_weights,
    installed_versions,
    is_untrained,
    now,
    read_record,
    record_file,
    write_record,
)
from .writer import ProvenanceWriter, RecordedCheckpointIO

__all__ = [
    "RECORD_KEY",
    "Provenance",
    "ProvenanceWriter",
    "RecordedCheckpointIO",
    "RecordedModule",
    "hash_export",
    "hash_weights",
    "installed_versions",
    "is_untrained",
    "now",
    "read_record",
    "record_file",
    "resizing",
    "write_record",
]
