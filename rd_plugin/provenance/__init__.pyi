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
from .sums import copied_sums, read_sums, split_sums, sums_file, write_sums

__all__ = [
    "RECORD_KEY",
    "Provenance",
    "RecordedModule",
    "copied_sums",
    "hash_export",
    "hash_weights",
    "installed_versions",
    "is_untrained",
    "now",
    "read_record",
    "read_sums",
    "record_file",
    "resizing",
    "split_sums",
    "sums_file",
    "write_record",
    "write_sums",
]
