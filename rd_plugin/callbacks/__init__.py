# SPDX-License-Identifier: Apache-2.0
"""Lightning callbacks that the models bring along."""

from .memory_reuse import MemoryReuse
from .validation_schedule import ValidationSchedule

__all__ = ["MemoryReuse", "ValidationSchedule"]
