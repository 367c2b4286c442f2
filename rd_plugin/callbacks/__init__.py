# SPDX-License-Identifier: Apache-2.0
"""Lightning callbacks around a training."""

from .finite_weights import FiniteWeights
from .memory_reuse import MemoryReuse
from .normal_statistics import NormalStatistics, own_share, training_batches, training_features
from .run_phases import RunPhases
from .run_summary import RunSummary
from .twin_picture import TwinPicture
from .validation_schedule import ValidationSchedule

__all__ = [
    "FiniteWeights",
    "MemoryReuse",
    "NormalStatistics",
    "RunPhases",
    "RunSummary",
    "TwinPicture",
    "ValidationSchedule",
    "own_share",
    "training_batches",
    "training_features",
]
