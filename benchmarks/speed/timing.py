# SPDX-License-Identifier: Apache-2.0
"""Times of tasks that take turns, so that a slow moment of the machine meets all of them; and what they hang on."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pandas as pd
import torch

from benchmarks.common.grid import Machine

__all__ = ["circumstances", "each_machine", "take_turns"]

Name = TypeVar("Name")


def circumstances(machine: Machine) -> dict[str, Any]:
    """Return what any speed depends on, as settings: with another machine or torch it is measured again."""
    return {**machine.hardware(), "torch": torch.__version__}


def each_machine(rows: pd.DataFrame, draw: Callable[[pd.DataFrame], str], *more: str) -> str:
    """Return a text of the rows of each machine and torch, and of other settings; with a sentence that names them."""
    texts = []
    if len(rows):
        for (device, threads, version, *_), found in rows.groupby(["device", "threads", "torch", *more], sort=False):
            commits = ", ".join(found["commit"].dropna().unique())
            where = f"Measured on {device} (threads: {threads}), torch {version}, commit {commits or 'unknown'}."
            texts += [draw(found), where]
    return "\n\n".join(texts)


def take_turns(
    tasks: Mapping[Name, Callable[[], object]],
    turns: int,
    warm_up: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Name, list[float]]:
    """Return milliseconds of each task in each turn by a clock; the first turns, to warm up, are not counted."""
    times: dict[Name, list[float]] = {name: [] for name in tasks}
    for turn in range(warm_up + turns):
        for name, task in tasks.items():
            start = clock()
            task()
            if turn >= warm_up:
                times[name].append(1000 * (clock() - start))
    return times
