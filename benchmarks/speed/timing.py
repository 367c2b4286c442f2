# SPDX-License-Identifier: Apache-2.0
"""Times of tasks that take turns, so that a slow moment of the machine meets all of them; and what they hang on."""

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

import rd_plugin
from benchmarks.common.grid import Machine

__all__ = ["CIRCUMSTANCES", "circumstances", "describe", "take_turns"]

Name = TypeVar("Name")
CIRCUMSTANCES = ("device", "threads", "torch", "code")


def circumstances(machine: Machine) -> dict[str, Any]:
    """Return what any speed hangs on, as settings: with another machine, torch or code it is measured again."""
    sources = sorted(Path(rd_plugin.__file__).parent.rglob("*.py"))
    code = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:10]
    return {**machine.hardware(), "torch": torch.__version__, "code": code}


def describe(device: str, threads: int, version: str, code: str) -> str:
    """Return circumstances as a sentence."""
    return f"Measured on {device} (threads: {threads}), torch {version}, code {code}."


def take_turns(tasks: Mapping[Name, Callable[[], object]], turns: int, warm_up: int = 0) -> dict[Name, list[float]]:
    """Return milliseconds of each task in each turn; the first turns, to warm up, are not counted."""
    times: dict[Name, list[float]] = {name: [] for name in tasks}
    for turn in range(warm_up + turns):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if turn >= warm_up:
                times[name].append(1000 * (time.perf_counter() - start))
    return times
