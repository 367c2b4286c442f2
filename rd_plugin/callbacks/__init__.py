# SPDX-License-Identifier: Apache-2.0
"""Lightning callbacks that the models bring along."""

from .data_check import DataCheck, OnBadData
from .memory_reuse import MemoryReuse
from .twin_picture import TwinPicture
from .validation_schedule import ValidationSchedule

__all__ = ["DataCheck", "MemoryReuse", "OnBadData", "TwinPicture", "ValidationSchedule"]
