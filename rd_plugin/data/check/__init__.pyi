# SPDX-License-Identifier: Apache-2.0
from .actions import OnBadData, act_on, memory_file, set_up
from .datamodule import SPLITS, check_datamodule, check_datasets, datasets, drop_samples, fingerprint, held_out_images
from .files import MAX_PIXELS, FileFacts, allow_pixels, inspect_file, read_file
from .pairs import check_pairs
from .problem import Problem
from .rules import check_image
from .survey import inspect_files

__all__ = [
    "MAX_PIXELS",
    "SPLITS",
    "FileFacts",
    "OnBadData",
    "Problem",
    "act_on",
    "allow_pixels",
    "check_datamodule",
    "check_datasets",
    "check_image",
    "check_pairs",
    "datasets",
    "drop_samples",
    "fingerprint",
    "held_out_images",
    "inspect_file",
    "inspect_files",
    "memory_file",
    "read_file",
    "set_up",
]
