# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin inspect --engine ray``, on a cluster of this machine alone."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rd_plugin.drift import Reference, image_statistics
from rd_plugin.provenance import hash_export, record_file, write_record
from rd_plugin.results import InspectionResult, in_order, read_results, results_of

from ..inspection.conftest import save_model
from .conftest import Tool

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of two cores."""
    ray.init("local", num_cpus=2, object_store_memory=100 * 2**20, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose record has a sample of dark images."""
    monkeypatch.chdir(tmp_path)
    path = save_model(tmp_path)
    rng = np.random.default_rng(1)
    reference = Reference(np.stack([image_statistics(rng.integers(0, 8, (4, 5, 3), np.uint8)) for _ in range(40)]))
    record = {"method": "none", "steps": 1, "reference": reference.plain(), "export": {"files": hash_export(path)}}
    write_record(record_file(path), record)
    return path


def _draw(folder: Path, count: int) -> None:
    """Images that get brighter, and a file that is none."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        Image.fromarray(rng.integers(8 * index, 8 * index + 8, (4, 5, 3), np.uint8)).save(folder / f"{index:03}.png")
    (folder / "text.png").write_text("no image")


def _rows(place: str) -> dict[str, InspectionResult]:
    rows = [result for table in in_order(place) for result in results_of(table)]
    found = {row.path: row for row in rows}
    assert len(found) == len(rows)
    return found


def _plain(results: Iterable[InspectionResult]) -> list[InspectionResult]:
    """Results without what differs from run to run, or is said of the whole."""
    return [replace(result, milliseconds=None, time="", drift="") for result in results]


def test_rows_report_drift_and_status_are_those_of_one_machine(
    cluster: None, model: Path, tmp_path: Path, tool: Tool
) -> None:
    del cluster
    _draw(tmp_path / "parts", 30)
    asked = ("inspect", model, "parts", "none.png", "none.png", "--fail_on_anomalous", "--fail_on_drift")
    local = tool(*asked, "--jsonl", "local.jsonl")
    files = ("--jsonl", "ray.jsonl", "--report", "report.html")
    found = tool(*asked, "--engine", "ray", "--parquet", "out", *files)
    assert found.status == local.status == 13, found.errors
    assert found.output == "out: 32 images (14 anomalous, 2 error, 16 normal).\n"
    (drift,) = (line for line in local.errors.splitlines() if "Drift: detected" in line)
    assert drift in found.errors.splitlines()
    rows = read_results("ray.jsonl").results
    assert _plain(rows) == _plain(read_results("local.jsonl").results)
    assert _rows("out") == {row.path: row for row in rows}
    assert drift.removeprefix("INFO ") in Path("report.html").read_text()


def test_resumed_run_inspects_what_is_left(cluster: None, model: Path, tmp_path: Path, tool: Tool) -> None:
    del cluster
    _draw(tmp_path / "parts", 6)
    asked = ("inspect", model, "parts", "--engine", "ray", "--parquet", "out")
    assert tool(*asked, "--actors", 2).output == "out: 7 images (1 error, 6 normal).\n"
    before = _rows("out")
    assert tool(*asked).status == 2
    Image.new("RGB", (5, 4), "white").save("parts/more.png")
    assert tool(*asked, "--resume").output == "out: 8 images (1 anomalous, 1 error, 6 normal).\n"
    after = _rows("out")
    assert {path: after[path] for path in before} == before
    assert set(after) - set(before) == {"parts/more.png"}
    assert tool(*asked, "--resume").status == 1
    assert _rows("out") == after
    too_many = tool(*asked, "--threads", 64, "--resume")
    assert too_many.status == 2
    assert "actors need 64 cores each; the machines have 2 cores" in too_many.errors
