# SPDX-License-Identifier: Apache-2.0
"""Two sides that take turns at a task, each in a process of its own: time, peak memory and their ratios."""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import pandas as pd

from benchmarks.common.grid import Machine, Row
from benchmarks.common.tables import Figure, table

from .worker import work

__all__ = ["compare", "compare_times", "comparison_row", "show_ratios"]

Task = Callable[..., Callable[[], None]]


def comparison_row(name: str, unit: str, ours: float, theirs: float, ratio: float | None = None) -> Row:
    """Return what was measured of both sides; a ratio above 1 is in favour of ours."""
    return {
        "row": name,
        "unit": unit,
        "ours": ours,
        "theirs": theirs,
        "ratio": theirs / ours if ratio is None else ratio,
    }


def compare(
    what: str,
    task: Task,
    turns: int,
    repeats: int,
    how: dict[str, Any],
    machine: Machine,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Row]:
    """Let both sides take turns at a task; return a row for time and one for peak memory."""
    context = multiprocessing.get_context("spawn")
    sides: dict[str, tuple[Any, Connection]] = {}
    for side in ("ours", "theirs"):
        here, there = context.Pipe()
        make = partial(task, side, device=machine.device, **how)
        process = context.Process(target=work, args=(there, make, 2, machine.threads, clock), daemon=True)
        process.start()
        # Left to the process alone, so that nobody waits for one that has ended.
        there.close()
        here.recv()
        sides[side] = (process, here)
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(turns):
        for side, (_, connection) in sides.items():
            connection.send(repeats)
            times[side].append(connection.recv())
    memory = {}
    for side, (process, connection) in sides.items():
        connection.send(0)
        memory[side] = connection.recv()
        process.join()
    medians = {side: 1000 * statistics.median(values) for side, values in times.items()}
    ratio = statistics.median(theirs / ours for ours, theirs in zip(times["ours"], times["theirs"], strict=True))
    return [comparison_row(what, "ms", **medians, ratio=ratio), comparison_row(f"{what}: peak memory", "MiB", **memory)]


def compare_times(*arguments: Any) -> list[Row]:
    """Compare as :func:`compare` does, without the memory."""
    return compare(*arguments)[:1]


def show_ratios(rows: pd.DataFrame) -> str:
    """Return a table of rows of :func:`comparison_row`."""
    columns = {"ours": 1, "theirs": 1, "unit": 0, "ratio": 2}
    figures = {name: Figure(name, digits, deviation=None) for name, digits in columns.items()}
    return table(rows, {"what": "row"}, figures)
