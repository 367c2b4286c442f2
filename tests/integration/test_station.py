# SPDX-License-Identifier: Apache-2.0
"""A station made from nothing, by the commands of its page: inspect, serve, a request, a metric, a message."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ..docs.blocks import commands, read_blocks
from ..unit.delivery.test_mqtt import Broker, broker, with_broker
from ..waiting import free_port, is_ready, wait_until
from .conftest import one_method

__all__ = ["broker"]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "station.md"
INSTALL, SERVE, ASK = (block.text for block in read_blocks(PAGE) if block.run == "guide")
# What another program's run may change in a row.
OWN = {"milliseconds": "", "time": ""}


def test_page_and_dockerfile_install_what_the_package_asks_for() -> None:
    extras = dict(re.findall(r"^(serve|messages) = (\[.*\])$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    asked = {package for listed in extras.values() for package in json.loads(listed)}
    dockerfile = (ROOT / "docker" / "station.Dockerfile").read_text()
    assert set(re.findall(r'"([^"]+>=[^"]+)"', dockerfile)) == asked
    (line,) = re.findall(r"^station/bin/pip install (.*)$", SERVE, re.MULTILINE)
    assert set(line.split()) == {package.partition(">=")[0] for package in asked}
    for line in re.findall(r"^station/bin/(pip install .*)$", INSTALL, re.MULTILINE):
        copied = line.replace("requirements/", "/tmp/").replace(" .", " /tmp/rd-plugin")
        assert copied.replace("install", "install --no-cache-dir") in dockerfile


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The project's files that are on a station."""
    folder = tmp_path / "checkout"
    for name in ("rd_plugin", "configs", "requirements"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("LICENSE", "README.md", "pyproject.toml", "setup.cfg", "setup.py"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.mark.slow
@with_broker
@one_method
def test_station_inspects_serves_and_sends_as_the_full_installation(
    checkout: Path, exported: Path, files: list[Path], broker: Broker
) -> None:
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": "", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def here(script: str) -> str:
        """A block of the page with the ports of this test."""
        script = script.replace("127.0.0.1:8000", f"127.0.0.1:{port}").replace(
            "localhost/", f"localhost:{broker.port}/"
        )
        script = script.replace("serve products", f"serve products --port {port}")
        return script.replace("mosquitto_sub", f"mosquitto_sub -p {broker.port}")

    def run(script: str) -> str:
        command = ["bash", "-euo", "pipefail", "-c", here(script)]
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=1200)
        if "No matching distribution" in done.stderr:
            pytest.skip("needs a package registry")
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def rows(name: str) -> dict[str, dict[str, str]]:
        with (checkout / name).open() as lines:
            return {row["path"]: {**row, **OWN} for row in csv.DictReader(lines)}

    for file in exported.parent.iterdir():
        shutil.copy(file, checkout)
    (checkout / "incoming").mkdir()
    for number, file in enumerate(files, 17):
        shutil.copy(file, checkout / "incoming" / f"part-{number}.png")

    run(INSTALL)
    listed = json.loads(run("station/bin/pip list --format json"))
    assert not {"torch", "anomalib", "lightning", "timm"} & {package["name"] for package in listed}
    full = [sys.executable, "-m", "rd_plugin", "inspect", "model.xml", "incoming", "--csv", "full.csv"]
    subprocess.run(full, cwd=checkout, env=environment, check=True, capture_output=True, timeout=600)
    assert rows("verdicts.csv") == rows("full.csv")
    assert len(rows("full.csv")) == len(files)

    *before, serve = SERVE.strip().splitlines()
    run("\n".join(before))
    server = subprocess.Popen(["bash", "-c", f"exec {here(serve)}"], cwd=checkout, env=environment)
    try:
        wait_until(lambda: is_ready(f"http://127.0.0.1:{port}"))
        listen, *ask = commands(ASK)
        # Not every computer with the broker has its clients.
        heard = f"{listen.removesuffix('&')} -C 1 > message.json & sleep 2" if shutil.which("mosquitto_sub") else "true"
        answer, metric = run("\n".join([heard, *ask, "wait"])).splitlines()
    finally:
        os.kill(server.pid, signal.SIGTERM)
    assert server.wait(60) == 0
    row, of_file = json.loads(answer), rows("full.csv")["incoming/part-17.png"]
    assert (row["path"], row["product"]) == ("part-17.png", "gasket")
    assert (row["verdict"], row["score"], row["model"]) == (
        of_file["verdict"],
        float(of_file["score"]),
        of_file["model"],
    )
    assert metric == f'rd_plugin_images_total{{client="local",product="gasket",verdict="{row["verdict"]}"}} 1.0'
    broker.wait_for("part-17.png")
    if heard != "true":
        assert json.loads((checkout / "message.json").read_text()) == row
