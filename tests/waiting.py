# SPDX-License-Identifier: Apache-2.0
"""Waiting for what other threads and programs do, never without an end."""

import time
from collections.abc import Callable


def wait_until(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is true; fail if that takes too long."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not true within {seconds} s"
        time.sleep(0.005)
