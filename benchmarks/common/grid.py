# SPDX-License-Identifier: Apache-2.0
"""A grid of cells: each leaves rows in the suite's file as soon as it is done, and is not run again.

A cell that fails leaves its message, and the others go on. With other settings it is another cell.
"""

import gc
import json
import logging
import platform
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from fnmatch import fnmatch
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from rd_plugin.provenance import installed_versions, now

from . import records

__all__ = ["Cell", "Machine", "Row", "run", "select"]

# What was measured of one thing: numbers, texts, arrays of one dimension.
Row = dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """What cells run on.

    Args:
        device: ``"cpu"`` or ``"cuda"``.
        threads: Threads of torch.
        workers: Processes that read images.
    """

    device: str
    threads: int
    workers: int = 0

    @property
    def accelerator(self) -> str:
        """The device as Lightning names it."""
        return "gpu" if self.device == "cuda" else "cpu"

    def hardware(self) -> dict[str, Any]:
        """Return the name of the device, and the threads."""
        name = torch.cuda.get_device_name() if self.device == "cuda" else f"CPU, {platform.machine()}"
        return {"device": name, "threads": self.threads}


@dataclass(frozen=True)
class Cell:
    """One run.

    Args:
        settings: All that its figures depend on.
        name: What people call it: parts with a slash between them.
        compute: Does it, and returns a row for each thing that was measured.
    """

    settings: dict[str, Any]
    name: str
    compute: Callable[[], list[Row]]


def select(cells: list[Cell], only: list[str] | None) -> list[Cell]:
    """Return the cells whose name, or a part of it, is like one of some patterns; without patterns all.

    Raises:
        ValueError: If no cell is like a pattern.
    """
    if not only:
        return cells
    chosen = []
    for pattern in only:
        found = [cell for cell in cells if any(fnmatch(text, pattern) for text in (cell.name, *cell.name.split("/")))]
        if not found:
            msg = f"--only {pattern} leaves none of {len(cells)} cells, such as {cells[0].name!r}."
            raise ValueError(msg)
        chosen += found
    return [cell for cell in cells if cell in chosen]


def commit() -> str | None:
    """Return the checkout's commit, with ``-dirty`` behind it if files have changed; ``None`` outside a checkout."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "describe", "--always", "--dirty", "--exclude=*"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=60)
    return found.stdout.strip() or None


def run_cell(cell: Cell, file: Path, machine: Machine) -> list[Row]:
    """Run a cell, and write its rows: what it measured, or what it failed by."""
    torch.set_num_threads(machine.threads)
    with warnings.catch_warnings():
        # What each of many trainings says would hide the progress bar.
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            rows = cell.compute()
        except Exception as error:  # whatever a model, its data or the device raises: the others can still be run
            rows = [{"failure": f"{type(error).__name__}: {error}"}]
        finally:
            logging.disable(logging.NOTSET)
    about = {"versions": json.dumps(installed_versions()), "commit": commit(), "date": now()}
    rows = [{"failure": None, **row, **machine.hardware(), **about} for row in rows]
    records.write(file, cell.settings, rows)
    gc.collect()
    if machine.device == "cuda":
        torch.cuda.empty_cache()
    return rows


def run(cells: list[Cell], file: Path, machine: Machine, retry: str | None = None, jobs: int = 1) -> pd.DataFrame:
    """Run what has no record yet.

    Args:
        cells: The grid.
        file: The suite's file.
        machine: What it runs on.
        retry: ``"failed"`` to run failed cells again, ``"all"`` to run all again.
        jobs: Cells that run at a time, each in a process of its own if there are several.

    Returns:
        The rows of all cells, in the order of the grid.
    """
    kept = records.read(file)
    waiting = []
    for cell in cells:
        rows = records.find(kept, cell.settings)
        if rows.empty or retry == "all" or (retry == "failed" and rows["failure"].notna().any()):
            waiting.append(cell)
    with tqdm(initial=len(cells) - len(waiting), total=len(cells), unit="cell", dynamic_ncols=True) as bar:
        for cell, new in _run(waiting, file, machine, jobs, bar):
            bar.write(f"{cell.name}: {_summary(new)}")
            bar.update()
    kept = records.read(file)
    return pd.concat([records.find(kept, cell.settings) for cell in cells], ignore_index=True)


def _run(waiting: list[Cell], file: Path, machine: Machine, jobs: int, bar: tqdm) -> Iterator[tuple[Cell, list[Row]]]:
    """Run cells, and give each one's rows as soon as they are there."""
    if jobs == 1:
        for cell in waiting:
            bar.set_description(cell.name)
            yield cell, run_cell(cell, file, machine)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(run_cell, cell, file, machine): cell for cell in waiting}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _summary(rows: list[Row]) -> str:
    """What a run has left, in a line: its failure, or the figures of its last row."""
    row = rows[-1]
    if row["failure"]:
        return str(row["failure"])
    return ", ".join(f"{name} {value:.3f}" for name, value in row.items() if isinstance(value, float)) or "done"
