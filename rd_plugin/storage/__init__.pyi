# SPDX-License-Identifier: Apache-2.0
from .address import file_system, is_address, local_file, make_folder, read_address
from .atomic import atomic_export, atomic_file, move_files
from .folder import check_folder, state_size
from .local_copy import local_copy
from .printable import printable
from .safe_reading import check_checkpoint, read_plain, short_refusal, why_refused

__all__ = [
    "atomic_export",
    "atomic_file",
    "check_checkpoint",
    "check_folder",
    "file_system",
    "is_address",
    "local_copy",
    "local_file",
    "make_folder",
    "move_files",
    "printable",
    "read_address",
    "read_plain",
    "short_refusal",
    "state_size",
    "why_refused",
]
