# SPDX-License-Identifier: Apache-2.0
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

__all__ = [
    "RECORD_KEY",
    "Provenance",
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
