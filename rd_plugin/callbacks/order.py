# SPDX-License-Identifier: Apache-2.0
"""The callbacks of every model, their order and the reasons for it."""

from lightning.pytorch import Callback

from .atomic_checkpoints import AtomicCheckpoints
from .data_check import DataCheck
from .demands import Demands
from .finite_weights import FiniteWeights
from .mlflow_writer import MlflowWriter
from .normal_statistics import NormalStatistics
from .part_features import PartFeatures
from .provenance_writer import ProvenanceWriter
from .reference_writer import ReferenceWriter
from .registration import RegistrationFitting
from .report_writer import ReportWriter
from .results_folder import ResultsFolder
from .run_phases import RunPhases
from .run_summary import RunSummary
from .running_statistics import RunningStatistics
from .validation_schedule import ValidationSchedule

__all__ = ["ordered_callbacks"]


def ordered_callbacks(
    *, report: bool, data_check: DataCheck, validations: int | None, statistics: bool, aligned: bool
) -> list[Callback]:
    """Return the callbacks of a model, which follow anomalib's pre-processor, post-processor and visualizer.

    Lightning calls each hook in this order, but it calls checkpoint callbacks last.

    Args:
        report: Whether a test writes a report.
        data_check: The check of the data, which a report lists the findings of.
        validations: Maximum number of validations before the last one; ``None`` for the trainer's schedule.
        statistics: Whether the model needs statistics of training images.
        aligned: Whether the model aligns images.
    """
    return [
        # A folder that cannot be written to stops the run before the data check reads every file.
        ResultsFolder(),
        # An argument that cannot work stops it, too.
        Demands(),
        # Announces a phase before the other callbacks work on it.
        RunPhases(),
        # ProvenanceWriter wraps the checkpoint plugin, so it must find the final one.
        AtomicCheckpoints(),
        # Needs the labels of the post-processor, and comes before the summary, which names the report.
        *([ReportWriter()] if report else []),
        RunSummary(),
        # Sends on what both have made.
        MlflowWriter(),
        FiniteWeights(),
        # Before all callbacks that read data, and before ProvenanceWriter, whose fingerprint comes from the results.
        data_check,
        ProvenanceWriter(fingerprint=data_check.on_bad_data != "off"),
        # Adds to the record that ProvenanceWriter begins.
        ReferenceWriter(data_check.max_pixels),
        *([] if validations is None else [ValidationSchedule(validations)]),
        # Before all that computes with the student.
        RunningStatistics(),
        # Before all that computes with training images, which it aligns.
        *([RegistrationFitting()] if aligned else []),
        # Adds to the record, too.
        PartFeatures(),
        # Before a validation, whose thresholds depend on the statistics. A method's own callbacks follow.
        *([NormalStatistics()] if statistics else []),
    ]
