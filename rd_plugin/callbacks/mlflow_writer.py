# SPDX-License-Identifier: Apache-2.0
"""Add to a run in MLflow what a logger of metrics does not log: record, report, false alarms and defects found."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import MLFlowLogger

from rd_plugin.provenance import record_file, sums_file
from rd_plugin.results.operating_points import OperatingPoint

from .courtesy import spared
from .report_writer import ReportWriter
from .run_summary import RunSummary

__all__ = ["MlflowWriter"]

_FLAVOR = "rd_plugin"


class MlflowWriter(Callback):
    """Complete the runs of Lightning's and anomalib's MLflow loggers; without such a logger, do nothing.

    With ``log_model``, Lightning logs the checkpoint into a folder named after it. Its record and its sums join it
    there, and a file ``MLmodel``, without which MLflow does not register a model. It must come
    after :class:`~rd_plugin.callbacks.ReportWriter` and :class:`~rd_plugin.callbacks.RunSummary`.
    """

    def __init__(self) -> None:
        self.failed = False

    @spared("The model's record in MLflow")
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the record and the sums of the checkpoint."""
        del pl_module
        path = str(getattr(trainer.checkpoint_callback, "best_model_path", "") or "")
        if not path or "://" in path:
            return
        for logger in _loggers(trainer):
            folder = Path(path).stem
            for file in (record_file(path), sums_file(path)):
                if file.is_file():
                    logger.experiment.log_artifact(logger.run_id, str(file), folder)
            with TemporaryDirectory() as temporary:
                description = Path(temporary) / "MLmodel"
                _describe(logger.run_id, folder, Path(path).name, description)
                logger.experiment.log_artifact(logger.run_id, str(description), folder)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an earlier failure."""
        del trainer, pl_module
        self.failed = False

    @spared("The report in MLflow")
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the report, and false alarms and defects found."""
        del pl_module
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        reports = [callback.written for callback in callbacks if isinstance(callback, ReportWriter)]
        points = [point for callback in callbacks if isinstance(callback, RunSummary) for point in callback.points]
        for logger in _loggers(trainer):
            logger.log_metrics(dict(_figures(points)), step=trainer.global_step)
            for report in filter(None, reports):
                logger.experiment.log_artifact(logger.run_id, str(report))


def _loggers(trainer: Trainer) -> Iterator[Any]:
    """The run's MLflow loggers, in the process that logs."""
    if trainer.is_global_zero:
        yield from (logger for logger in trainer.loggers if isinstance(logger, MLFlowLogger))


def _figures(points: list[OperatingPoint]) -> Iterator[tuple[str, float]]:
    """Rates by names that MLflow accepts."""
    for point in points:
        at = "" if point.rate is None else f"_for_{100 * point.rate:g}_percent"
        if point.false_alarms is not None:
            yield f"false_alarms{at}", point.false_alarms.rate
        if point.defects_found is not None:
            yield f"defects_found{at}", point.defects_found.rate


def _describe(run_id: str, folder: str, checkpoint: str, path: Path) -> None:
    """Write the file by which MLflow knows a model."""
    # It is there with the logger, and its import takes seconds.
    from mlflow.models import Model

    model = Model(artifact_path=folder, run_id=run_id)
    model.add_flavor(_FLAVOR, checkpoint=checkpoint)
    model.save(str(path))
