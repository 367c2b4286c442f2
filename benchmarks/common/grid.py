# SPDX-License-Identifier: Apache-2.0
"""A grid of cells: each leaves a record as soon as it is done, and is not run again.

A cell that fails leaves its message, and the others go on. With other settings it is another cell.
"""

import gc
import logging
import platform
import re
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from fnmatch import fnmatch
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from rd_plugin.provenance import installed_versions, now

from .records import Record, digest, key, read, write

__all__ = ["Cell", "Machine", "run", "select"]


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
        settings: All that its figures hang on, as JSON knows it.
        name: What people call it: parts with a slash between them.
        compute: Does it, and returns what was measured, as JSON knows it, and arrays to be kept beside it.
        file: Where in a folder its record stands; a digest of the settings and the suffix are added. By default
            it is made from the name.
    """

    settings: dict[str, Any]
    name: str
    compute: Callable[[], dict[str, Any]]
    file: str = ""

    def path(self, folder: Path) -> Path:
        """Return the file that a new record is written to: other settings, another file."""
        file = self.file or re.sub(r"[^\w.]+", "_", self.name)
        return folder / f"{file}_{digest(self.settings)}.json"


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


def run_cell(cell: Cell, file: Path, machine: Machine) -> Record:
    """Run a cell, and leave its record: what it measured, or what it failed by."""
    torch.set_num_threads(machine.threads)
    with warnings.catch_warnings():
        # What each of many trainings says would hide the progress bar.
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            content = cell.compute()
        except Exception as error:  # whatever a model, its data or the device raises: the others can still be run
            content = {"failure": {"type": type(error).__name__, "text": str(error)}}
        finally:
            logging.disable(logging.NOTSET)
    about = {**machine.hardware(), "versions": installed_versions(), "date": now()}
    record = write(file, {"settings": cell.settings, **content, **about})
    gc.collect()
    if machine.device == "cuda":
        torch.cuda.empty_cache()
    return record


def run(cells: list[Cell], folder: Path, machine: Machine, retry: str | None = None, jobs: int = 1) -> list[Record]:
    """Run what has no record yet.

    Args:
        cells: The grid.
        folder: Folder of the records.
        machine: What it runs on.
        retry: ``"failed"`` to run failed cells again, ``"all"`` to run all again.
        jobs: Cells that run at a time, each in a process of its own if there are several.

    Returns:
        The records of all cells, in the order of the grid.
    """
    known = {key(record.settings): record for record in read(folder)}
    waiting = []
    for cell in cells:
        record = known.get(key(cell.settings))
        if record is None or retry == "all" or (retry == "failed" and record.failed):
            waiting.append((cell, record.file if record else cell.path(folder)))
    done = len(cells) - len(waiting)
    with tqdm(initial=done, total=len(cells), unit="cell", dynamic_ncols=True) as bar:
        for cell, record in _records(waiting, machine, jobs, bar):
            known[key(cell.settings)] = record
            bar.write(f"{cell.name}: {_summary(record)}")
            bar.update()
    return [known[key(cell.settings)] for cell in cells]


def _records(waiting: list[tuple[Cell, Path]], machine: Machine, jobs: int, bar: tqdm) -> Iterator[tuple[Cell, Record]]:
    """Run cells, and give each one's record as soon as it is there."""
    if jobs == 1:
        for cell, file in waiting:
            bar.set_description(cell.name)
            yield cell, run_cell(cell, file, machine)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(run_cell, cell, file, machine): cell for cell, file in waiting}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _summary(record: Record) -> str:
    """What a record says, in a line: its failure, or figures of its last map or table row."""
    if record.failed:
        return "{type}: {text}".format(**record.content["failure"])
    figures = record.content.get("figures", record.content)
    if all(isinstance(value, dict) for value in figures.values()):
        figures = next(reversed(figures.values()))
    return ", ".join(f"{name} {value:.3f}" for name, value in figures.items() if isinstance(value, float)) or "done"
