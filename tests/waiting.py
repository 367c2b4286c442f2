# SPDX-License-Identifier: Apache-2.0
"""Waiting for what other threads and programs do, never without an end, and the ports of servers."""

import socket
import time
from collections.abc import Callable

import httpx


def wait_until(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is true; fail if that takes too long."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not true within {seconds} s"
        time.sleep(0.005)


def is_ready(address: str) -> bool:
    """Whether a server answers, and has loaded its models."""
    try:
        return httpx.get(f"{address}/ready").status_code == 200
    except httpx.ConnectError:
        return False


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
