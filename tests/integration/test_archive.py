# SPDX-License-Identifier: Apache-2.0
"""Archives: object storage on loopback, and a Ray cluster of two machines, one of which is killed on the way."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image

from rd_plugin.commands.tool import main
from rd_plugin.inspection import ray_engine
from rd_plugin.results import InspectionResult, in_order, read_results, results_of

from ..unit.inspection.conftest import save_model

pa = pytest.importorskip("pyarrow")
psutil = pytest.importorskip("psutil")
pq = pytest.importorskip("pyarrow.parquet")

IMAGES = 400


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save_model(tmp_path)


def _draw(folder: Path, count: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        level = int(rng.integers(248))
        image = rng.integers(level, level + 8, (4, 5, 3), np.uint8)
        Image.fromarray(image).save(folder / f"{index:04}.png", compress_level=0)
    (folder / "text.png").write_text("no image")


def _inspect(*arguments: object) -> int:
    with pytest.raises(SystemExit) as status:
        main(["inspect", *map(str, arguments)])
    return int(status.value.code or 0)


def _rows(place: str) -> dict[str, tuple]:
    """What does not differ from run to run, by path; each path once."""
    rows = [result for table in in_order(place) for result in results_of(table)]
    found = {row.path: _fixed(row) for row in rows}
    assert len(found) == len(rows)
    return found


def _fixed(row: InspectionResult) -> tuple:
    return row.verdict, row.score, row.boxes, row.reason, row.model


def _complete(folder: Path) -> int:
    """How many files of a folder are complete."""
    count = 0
    for file in folder.glob("*.parquet"):
        with suppress(pa.ArrowInvalid):
            count += pq.read_metadata(file).num_rows > 0
    return count


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of an S3 server on loopback; where it is and who may use it stand in the environment alone."""
    server_module = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    values = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**values, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    # The server's buckets are those of the process.
    name = f"factory-{uuid4().hex}"
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_images_and_results_in_object_storage(model: Path, tmp_path: Path, bucket: str) -> None:
    import s3fs

    _draw(tmp_path / "parts", 5)
    files = s3fs.S3FileSystem()
    files.put(str(tmp_path / "parts"), f"{bucket}/parts", recursive=True)
    outputs = ("--report", f"{bucket}/out/report.html", "--parquet", f"{bucket}/out/rows")
    assert _inspect(model, f"{bucket}/parts", "--jsonl", f"{bucket}/out/rows.jsonl", *outputs) == 1
    assert _inspect(model, "parts", "--jsonl", "local.jsonl") == 1
    expected = {f"{bucket}/{row.path}": _fixed(row) for row in read_results("local.jsonl").results}
    assert _rows(f"{bucket}/out/rows") == expected
    files.get(f"{bucket}/out/rows.jsonl", "remote.jsonl")
    assert {row.path: _fixed(row) for row in read_results("remote.jsonl").results} == expected
    assert files.cat_file(f"{bucket}/out/report.html").count(b">UklGR") == 5
    files.pipe_file(f"{bucket}/parts/more.png", (tmp_path / "parts" / "0000.png").read_bytes())
    assert _inspect(model, f"{bucket}/parts", *outputs[2:], "--resume") == 1
    assert _rows(f"{bucket}/out/rows").keys() == {*expected, f"{bucket}/parts/more.png"}
    assert _inspect(model, f"{bucket}/parts", *outputs[2:]) == 2
    assert _inspect(model, "s3://misspelt/parts", "--parquet", "s3://misspelt/rows") in {1, 2}
    assert not files.exists("misspelt")


@pytest.mark.slow
def test_ray_reads_and_writes_object_storage(model: Path, tmp_path: Path, bucket: str) -> None:
    ray = pytest.importorskip("ray")
    import s3fs

    _draw(tmp_path / "parts", 8)
    s3fs.S3FileSystem().put(str(tmp_path / "parts"), f"{bucket}/parts", recursive=True)
    ray.init("local", num_cpus=2, object_store_memory=100 * 2**20, include_dashboard=False, log_to_driver=False)
    try:
        asked = (model, f"{bucket}/parts", "--engine", "ray", "--parquet", f"{bucket}/rows")
        assert _inspect(*asked) == 1
        before = _rows(f"{bucket}/rows")
        assert _inspect(*asked, "--resume") == 1
    finally:
        ray.shutdown()
    assert _inspect(model, "parts", "--jsonl", "local.jsonl") == 1
    expected = {f"{bucket}/{row.path}": _fixed(row) for row in read_results("local.jsonl").results}
    assert before == _rows(f"{bucket}/rows") == expected


def _actors() -> list[psutil.Process]:
    """The processes of Ray's that hold the model."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.name().startswith("ray::MapWorker")]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["machine", "worker"])
def test_a_killed_machine_or_worker_loses_and_doubles_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    _draw(tmp_path / "parts", IMAGES)
    assert _inspect(model, "parts", "--jsonl", "local.jsonl") == 1
    monkeypatch.setattr(ray_engine, "_BATCH", 4)
    monkeypatch.setattr(ray_engine, "_ROWS", 20)
    store = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **store})
    try:
        second = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
        cluster.wait_for_nodes()
        ray.init(cluster.address, log_to_driver=False)

        killed = []

        def kill() -> None:
            """Kill the second machine, or a process that holds the model, when the first results are written."""
            while not (count := _complete(tmp_path / "rows")):
                time.sleep(0.02)
            killed.append(count)
            if what == "machine":
                cluster.remove_node(second, allow_graceful=False)
            else:
                _actors()[0].kill()

        thread = Thread(target=kill)
        thread.start()
        status = _inspect(model, "parts", "--engine", "ray", "--parquet", "rows")
        thread.join(60)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert status == 1
    assert 0 < killed[0] < IMAGES // 20
    assert _rows("rows") == {row.path: _fixed(row) for row in read_results("local.jsonl").results}


@pytest.mark.slow
def test_a_killed_driver_is_continued(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    _draw(tmp_path / "parts", IMAGES)
    assert _inspect(model, "parts", "--jsonl", "local.jsonl") == 1
    few = "from rd_plugin.inspection import ray_engine as e; e._BATCH, e._ROWS = 4, 20"
    run = f"{few}; from rd_plugin.commands.tool import main; main()"
    asked = ("inspect", model, "parts", "--engine", "ray", "--parquet", "rows")
    command = [sys.executable, "-c", run, *map(str, asked)]
    driver = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (before := _complete(tmp_path / "rows")):
        assert driver.poll() is None
        time.sleep(0.02)
    cluster = psutil.Process(driver.pid).children(recursive=True)
    driver.kill()
    driver.wait(60)
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 1, done.stderr[-3000:]
    # Ray's own end with the driver, some after a while.
    for process in cluster:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    assert before < IMAGES // 20
    assert _rows("rows") == {row.path: _fixed(row) for row in read_results("local.jsonl").results}
