# SPDX-License-Identifier: Apache-2.0
"""A run's figures, record, report and checkpoint arrive in MLflow with SQLite, and a model is read back from there."""

import json
from pathlib import Path

import pytest

from .conftest import BACKBONE, WEIGHTS, run_cli

mlflow = pytest.importorskip("mlflow")

pytestmark = pytest.mark.slow


def test_from_a_training_to_verdicts(tmp_path: Path, mvtec_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    logger = ("--trainer.logger", "anomalib.loggers.AnomalibMLFlowLogger", "--trainer.logger.tracking_uri", uri)
    run_cli(
        tmp_path,
        *("train", "--model", "rd_plugin.ReverseDistillation", "--model.backbone", BACKBONE),
        *("--model.pre_trained", WEIGHTS, "--model.image_size", "64", "--data", "rd_plugin.MVTec"),
        *("--data.root", mvtec_root, "--data.category", "tile", "--data.num_workers", "0"),
        *("--trainer.max_steps", "2", "--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"),
        *(*logger, "--trainer.logger.log_model", "true"),
        program="rd-plugin",
    )
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert {"image_AUROC", "false_alarms", "defects_found_for_1_percent"} <= run.data.metrics.keys()
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"model", "report.html"}
    files = {Path(file.path).name for file in client.list_artifacts(run.info.run_id, "model")}
    assert files >= {"model.ckpt", "model.json", "MLmodel"}

    mlflow.register_model(f"runs:/{run.info.run_id}/model", "tile")
    images = mvtec_root / "tile" / "test" / "stain"
    (checkpoint,) = tmp_path.glob("results/**/v0/weights/lightning/model.ckpt")
    for model, rows in (("models:/tile/1", "registered.jsonl"), (checkpoint, "file.jsonl")):
        run_cli(tmp_path, "inspect", model, images, "--jsonl", rows, program="rd-plugin")
    registered, file = (
        [
            {name: value for name, value in json.loads(line).items() if name not in {"time", "milliseconds"}}
            for line in (tmp_path / rows).read_text().splitlines()
        ]
        for rows in ("registered.jsonl", "file.jsonl")
    )
    assert len(file) == 4
    assert registered == file
