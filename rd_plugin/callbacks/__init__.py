# SPDX-License-Identifier: Apache-2.0
"""Lightning callbacks: everything that happens besides the training steps. ``order`` lists those of every model."""

from .atomic_checkpoints import AtomicCheckpointIO, AtomicCheckpoints
from .data_check import DataCheck
from .demands import Demands
from .finite_weights import FiniteWeights
from .mlflow_writer import MlflowWriter
from .normal_statistics import NormalStatistics, training_batches, training_features
from .order import ordered_callbacks
from .part_features import PartFeatures
from .provenance_writer import ProvenanceWriter, RecordedCheckpointIO
from .reference_writer import ReferenceWriter
from .registration import RegistrationFitting
from .report_writer import ReportWriter
from .results_folder import ResultsFolder, keep_to_own_run
from .run_phases import RunPhases
from .run_summary import RunSummary
from .twin_picture import TwinPicture
from .validation_schedule import ValidationSchedule

__all__ = [
    "AtomicCheckpointIO",
    "AtomicCheckpoints",
    "DataCheck",
    "Demands",
    "FiniteWeights",
    "MlflowWriter",
    "NormalStatistics",
    "PartFeatures",
    "ProvenanceWriter",
    "RecordedCheckpointIO",
    "ReferenceWriter",
    "RegistrationFitting",
    "ReportWriter",
    "ResultsFolder",
    "RunPhases",
    "RunSummary",
    "TwinPicture",
    "ValidationSchedule",
    "keep_to_own_run",
    "ordered_callbacks",
    "training_batches",
    "training_features",
]
