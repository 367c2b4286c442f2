# SPDX-License-Identifier: Apache-2.0
"""Lightning callbacks that the models bring along."""

from .atomic_checkpoints import AtomicCheckpointIO, AtomicCheckpoints
from .atomic_pictures import AtomicPictures
from .data_check import DataCheck, OnBadData
from .finite_weights import FiniteWeights
from .memory_reuse import MemoryReuse
from .normal_statistics import NormalStatistics
from .provenance import ProvenanceWriter, RecordedCheckpointIO
from .results_folder import ResultsFolder
from .twin_picture import TwinPicture
from .validation_schedule import ValidationSchedule

__all__ = [
    "AtomicCheckpointIO",
    "AtomicCheckpoints",
    "AtomicPictures",
    "DataCheck",
    "FiniteWeights",
    "MemoryReuse",
    "NormalStatistics",
    "OnBadData",
    "ProvenanceWriter",
    "RecordedCheckpointIO",
    "ResultsFolder",
    "TwinPicture",
    "ValidationSchedule",
]
