# SPDX-License-Identifier: Apache-2.0
"""Waiting for what other threads and programs do, never without an end."""

import os
import signal
import time
from collections.abc import Callable
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | int | None


def wait_until(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is true; fail if that takes too long."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not true within {seconds} s"
        time.sleep(0.005)


def send_signal(number: int, usual: Handler) -> None:
    """Send this process a signal if a program in it has replaced the usual handler, which would end all tests."""
    assert signal.getsignal(number) is not usual, "the program has ended before the signal"
    os.kill(os.getpid(), number)
