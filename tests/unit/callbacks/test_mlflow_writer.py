# SPDX-License-Identifier: Apache-2.0
"""What joins a run in MLflow; ``tests/integration/test_mlflow.py`` writes to a real one."""

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from lightning.pytorch.loggers import MLFlowLogger

from rd_plugin.callbacks import MlflowWriter, ReportWriter, RunSummary, mlflow_writer
from rd_plugin.results.operating_points import operating_points


@pytest.fixture
def logger() -> MagicMock:
    logger = MagicMock(spec=MLFlowLogger)
    logger.run_id, logger.experiment = "abc", MagicMock()
    return logger


def trainer(logger: object, **found: object) -> SimpleNamespace:
    callbacks = [ReportWriter(), RunSummary()]
    callbacks[0].written = Path("report.html")
    callbacks[1].points = operating_points([0.1, 0.7, 0.9, 0.2], [0, 0, 1, 1], threshold=0.5, rates=[0.001])
    return SimpleNamespace(is_global_zero=True, loggers=[logger], callbacks=callbacks, global_step=7, **found)


def test_report_and_figures(logger: MagicMock) -> None:
    MlflowWriter().on_test_end(trainer(logger), None)
    figures = {"false_alarms": 0.5, "defects_found": 0.5}
    figures |= {"false_alarms_for_0.1_percent": 0.0, "defects_found_for_0.1_percent": 0.5}
    logger.log_metrics.assert_called_once_with(figures, step=7)
    logger.experiment.log_artifact.assert_called_once_with("abc", "report.html")


def test_record_joins_the_checkpoint(logger: MagicMock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_writer, "_describe", lambda *_: None)
    (tmp_path / "model.json").write_text("{}")
    checkpoint = SimpleNamespace(best_model_path=str(tmp_path / "model.ckpt"))
    MlflowWriter().on_fit_end(trainer(logger, checkpoint_callback=checkpoint), None)
    logged = [(Path(call.args[1]).name, call.args[2]) for call in logger.experiment.log_artifact.call_args_list]
    assert logged == [("model.json", "model"), ("MLmodel", "model")]


def test_failure_costs_a_warning(logger: MagicMock, caplog: pytest.LogCaptureFixture) -> None:
    logger.experiment.log_artifact.side_effect = ConnectionError("no server")
    MlflowWriter().on_test_end(trainer(logger), None)
    assert caplog.messages == ["The report in MLflow is left out: ConnectionError: no server"]


def test_other_loggers_are_left_alone() -> None:
    other = MagicMock()
    MlflowWriter().on_test_end(trainer(other), None)
    assert other.mock_calls == []
