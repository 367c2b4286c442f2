# SPDX-License-Identifier: Apache-2.0
"""The server on a port of this computer."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from rd_plugin.serving import check_host

from ...waiting import is_ready, wait_until
from .conftest import png

# One image takes as long as its path says, in seconds; without torch, which takes long to import.
SERVER = """
import logging, sys, time
from pathlib import Path
from rd_plugin.inspection import Inferencer, Inspector, Prediction
from rd_plugin.products import Store
from rd_plugin.serving import Settings, make_app, serve, server

class Model(Inferencer):
    parallel = 2
    def predict(self, image):
        return Prediction(False, 0.25, None, None, 1.0)

class Slow(Inspector):
    def inspect_one(self, source):
        Path(f"begun{time.monotonic_ns()}").touch()
        time.sleep(float(source.path or 0))
        return super().inspect_one(source)

logging.basicConfig(level=logging.INFO, format="%(message)s")
server._Protocol.head_seconds = 1.0
Store("products").folder.joinpath("gasket").mkdir(parents=True)
Path("products/gasket/product.json").write_text(
    '{"folder": "a", "file": "model.xml", "model": "", "sha256": "", "added": ""}'
)
settings = Settings(body_seconds=2.0, max_bytes=1000)
serve(make_app(Store("products"), lambda _, product: Slow(Model(), product=product), settings), "127.0.0.1", 0, 2.0)
print("ended", flush=True)
"""


class Running:
    """A server in a process of its own."""

    def __init__(self, folder: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("Serving at http://127.0.0.1:"):
                self.port = int(line.split(":")[2].split()[0])
                break
        self.address = f"http://127.0.0.1:{self.port}"
        wait_until(lambda: is_ready(self.address))

    def connect(self, start: bytes) -> socket.socket:
        """A connection on which this has been sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(start)
        return connection


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    server = Running(str(tmp_path))
    yield server
    server.process.kill()
    server.process.wait(30)


def test_clients_that_hang_are_left_and_others_are_served(running: Running) -> None:
    head = b"POST /inspect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 900\r\n\r\n"
    silent = running.connect(b"")
    half = running.connect(head[:20])
    body = running.connect(head + b"x" * 10)
    kept = running.connect(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert b"200 OK" in kept.recv(1000)
    kept.sendall(b"GET /he")
    huge = running.connect(b"POST /inspect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\nx")
    assert b"413" in huge.recv(1000)
    garbage = running.connect(b"\x00\xff\x16\x03 garbage\r\n\r\n")
    assert b"400" in garbage.recv(1000)
    assert httpx.post(f"{running.address}/inspect", content=png(9)).json()["score"] == 0.25
    # Closed by the server.
    assert silent.recv(1000) == b""
    assert half.recv(1000) == b""
    assert b"408" in body.recv(1000)
    while kept.recv(1000):
        pass
    assert httpx.get(f"{running.address}/health").status_code == 200


def test_signal_finishes_what_has_come_in(running: Running, tmp_path: Path) -> None:
    def post(seconds: str) -> httpx.Response:
        return httpx.post(f"{running.address}/inspect?path={seconds}", content=png(9), timeout=60)

    with ThreadPoolExecutor(3) as clients:
        answers = [clients.submit(post, "2") for _ in range(3)]
        wait_until(lambda: len(list(tmp_path.glob("begun*"))) == 3)
        os.kill(running.process.pid, signal.SIGTERM)
        assert [answer.result().json()["score"] for answer in answers] == [0.25] * 3
    assert running.process.wait(60) == 0
    assert running.process.stdout is not None
    assert "ended" in running.process.stdout.read()


def test_port_in_use_is_named(running: Running) -> None:
    code = f"from rd_plugin.serving import serve; serve(None, '127.0.0.1', {running.port}, 1.0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert f"port {running.port} of '127.0.0.1' cannot be listened on: Address already in use" in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "station", "", "localhost.example"])
def test_other_computers_need_tokens(host: str) -> None:
    with pytest.raises(ValueError, match=r"host must be 127\.0\.0\.1, ::1 or localhost unless clients need tokens"):
        check_host(host, has_tokens=False)
    check_host(host, has_tokens=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_computer_needs_none(host: str) -> None:
    check_host(host, has_tokens=False)
