# SPDX-License-Identifier: Apache-2.0
"""A run's figures, record, report and checkpoint arrive in MLflow, and a model is read back from there."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from ..waiting import free_port, wait_until
from .conftest import BACKBONE, WEIGHTS, run_cli

mlflow = pytest.importorskip("mlflow")

pytestmark = pytest.mark.slow


def _is_ready(server: str) -> bool:
    with suppress(URLError, OSError), urlopen(f"{server}/health", timeout=10) as answer:
        return answer.status == 200
    return False


@pytest.fixture(params=["database", "server"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of SQLite's, itself or behind MLflow's server on this machine."""
    database = f"sqlite:///{tmp_path / 'mlflow.db'}"
    if request.param == "database":
        yield database
        return
    port = free_port()
    options = ["--backend-store-uri", database, "--artifacts-destination", str(tmp_path / "artifacts")]
    options += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (tmp_path / "server.txt").open("w") as output:
        command = [sys.executable, "-m", "mlflow", "server", *options]
        # In a session of its own, since it starts others; without those that run jobs.
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        server = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_until(lambda: _is_ready(f"http://127.0.0.1:{port}"), 300)
        yield f"http://127.0.0.1:{port}"
    finally:
        for stop in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(server.pid, stop)
                server.wait(30)


def test_from_a_training_to_verdicts(
    uri: str, tmp_path: Path, mvtec_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    logger = ("--trainer.logger", "anomalib.loggers.AnomalibMLFlowLogger", "--trainer.logger.tracking_uri", uri)
    run_cli(
        tmp_path,
        *("train", "--model", "rd_plugin.ReverseDistillation", "--model.backbone", BACKBONE),
        *("--model.pre_trained", WEIGHTS, "--model.image_size", "64", "--data", "rd_plugin.MVTec"),
        *("--data.root", mvtec_root, "--data.category", "tile", "--data.num_workers", "0"),
        *("--trainer.max_steps", "2", "--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"),
        *(*logger, "--trainer.logger.log_model", "true"),
        program="rd-plugin",
        **variables,
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
        run_cli(tmp_path, "inspect", model, images, "--jsonl", rows, program="rd-plugin", **variables)
    registered, file = (
        [
            {name: value for name, value in json.loads(line).items() if name not in {"time", "milliseconds"}}
            for line in (tmp_path / rows).read_text().splitlines()
        ]
        for rows in ("registered.jsonl", "file.jsonl")
    )
    assert len(file) == 4
    assert registered == file
