# SPDX-License-Identifier: Apache-2.0
"""A station made from nothing, by the commands of its Dockerfile: inspect, serve, a request, a metric, a message."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from ..unit.delivery.test_mqtt import Broker, broker, with_broker
from ..waiting import wait_until
from .conftest import one_method

__all__ = ["broker"]

ROOT = Path(__file__).parents[2]
# What another program's run may change in a row.
OWN = {"milliseconds": 0, "time": ""}

pytestmark = pytest.mark.slow


def _installations(checkout: Path) -> list[list[str]]:
    """The ``pip install`` commands of the Dockerfile, with what it copies into the image where it is here."""
    text = (ROOT / "docker" / "station.Dockerfile").read_text().replace("\\\n", " ")
    text = text.replace("/tmp/station.txt", str(checkout / "requirements" / "station.txt"))
    text = text.replace("/tmp/rd-plugin", str(checkout))
    commands = [shlex.split(command)[1:] for command in re.findall(r"pip install [^&\n]+", text)]
    assert len(commands) == 2
    return commands


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``rd-plugin`` in an environment of its own."""
    folder = tmp_path_factory.mktemp("station")
    checkout = folder / "checkout"
    for name in ("rd_plugin", "configs", "requirements"):
        shutil.copytree(ROOT / name, checkout / name)
    for name in ("LICENSE", "README.md", "pyproject.toml", "setup.cfg", "setup.py"):
        shutil.copy(ROOT / name, checkout)
    environment = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True, timeout=300)
    for command in _installations(checkout):
        pip = [environment / "bin" / "python", "-m", "pip", *command, "--quiet"]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=900)
        if "No matching distribution" in done.stderr:
            pytest.skip("needs a package registry")
        assert done.returncode == 0, done.stderr[-3000:]
    return environment / "bin" / "rd-plugin"


@with_broker
@one_method
def test_station_inspects_serves_and_sends_as_the_full_installation(
    tool: Path, exported: Path, files: list[Path], tmp_path: Path, broker: Broker
) -> None:
    environment = {**os.environ, "PYTHONPATH": ""}

    def run(program: Path | str, *arguments: object) -> str:
        command = [program, *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def rows(name: str) -> list[dict]:
        return [{**json.loads(line), **OWN} for line in (tmp_path / name).read_text().splitlines()]

    listed = run(tool.parent / "python", "-m", "pip", "list", "--format", "json")
    assert not {"torch", "anomalib", "lightning", "timm"} & {package["name"] for package in json.loads(listed)}

    folder = files[0].parents[1]
    run(tool, "inspect", exported, folder, "--jsonl", "station.jsonl")
    run(sys.executable, "-m", "rd_plugin", "inspect", exported, folder, "--jsonl", "full.jsonl")
    assert rows("station.jsonl") == rows("full.jsonl")
    assert len(rows("full.jsonl")) == len(files)

    run(tool, "products", "add", "products", "tile", exported)
    arguments = ("serve", "products", "--port", "0", "--mqtt", f"127.0.0.1:{broker.port}/line/1")
    server = subprocess.Popen([tool, *arguments], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        address = next(line.split("Serving at ")[1].split()[0] for line in server.stderr if "Serving at " in line)
        wait_until(lambda: httpx.get(f"{address}/ready").status_code == 200)
        path = str(files[0])
        answer = httpx.post(f"{address}/inspect", params={"path": path}, content=files[0].read_bytes(), timeout=60)
        (of_file,) = [row for row in rows("full.jsonl") if row["path"] == path]
        assert {**answer.json(), **OWN} == {**of_file, "product": "tile"}
        (count,) = [
            line
            for line in httpx.get(f"{address}/metrics").text.splitlines()
            if line.startswith("rd_plugin_images_total")
        ]
        assert f'verdict="{of_file["verdict"]}"' in count
        assert count.endswith(" 1.0")
        broker.wait_for(path)
    finally:
        os.kill(server.pid, signal.SIGTERM)
    assert server.wait(60) == 0
