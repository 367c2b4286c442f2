# SPDX-License-Identifier: Apache-2.0
"""What Ray costs ``rd-plugin inspect``: images a second, seconds to the first result and memory, without and with it.

    python -m benchmarks.speed.archive rate --model MODEL.xml [--images 2000] [--side 300]
    python -m benchmarks.speed.archive memory --model MODEL.xml [--many 100000]
    python -m benchmarks.speed.archive table

The same export inspects the same PNG files on the same cores: in the pipeline of one process, and on a Ray cluster of
this machine with one actor on all cores, and with two that share them. The ways take turns; figures are medians. The
rate is that between the first and the last row, by the rows' own times. The memory is the highest of the process that
is started and of all that it starts, Ray's own processes too; pages that several of them share count once. A small
export inspects many images in less time: memory does not depend on the speed. psutil must be installed.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pandas as pd
import psutil
import pyarrow.compute as pc
import pyarrow.dataset
from PIL import Image

from benchmarks.common import command
from benchmarks.common.grid import Cell, Row
from benchmarks.common.tables import Figure, table
from rd_plugin import SolarCells
from rd_plugin.provenance import record_file

from .timing import circumstances, each_machine

_SECONDS = 1.0  # between two looks at the memory
_FILES = 24  # of different content
_WAYS: dict[str, list[str]] = {
    "one process": [],
    "Ray, 1 actor": ["--engine", "ray", "--actors", "1"],
    "Ray, 2 actors": ["--engine", "ray", "--actors", "2"],
}


def _archive(folder: Path, side: int, count: int) -> Path:
    """A folder of as many names of test images of a side."""
    data = SolarCells(num_workers=0)
    data.setup()
    parts = folder / "parts"
    parts.mkdir()
    for index, path in enumerate(data.test_data.samples["image_path"][: min(_FILES, count)]):
        with Image.open(path) as image:
            image.resize((side, side), Image.Resampling.LANCZOS).save(parts / f"{index:07}.png")
    for index in range(_FILES, count):
        (parts / f"{index:07}.png").hardlink_to(parts / f"{index % _FILES:07}.png")
    return parts


def _measure(model: Path, parts: Path, way: str, threads: int, rows: Path) -> Row:
    """Inspect all images once."""
    shared = max(1, threads // 2) if way == "Ray, 2 actors" else threads
    program = [sys.executable, "-m", "rd_plugin", "inspect", model, parts, "--parquet", rows, "--threads", shared]
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    start, memory = time.time(), 0.0
    with tempfile.TemporaryFile() as told:
        process = psutil.Popen([*map(str, program), *_WAYS[way]], stdout=told, stderr=told, env=environment)
        while process.poll() is None:
            memory = max(memory, _held(process))
            time.sleep(_SECONDS)
        if process.returncode:
            told.seek(0)
            msg = f"{way}: inspect has ended with {process.returncode}: {told.read()[-2000:].decode(errors='replace')}"
            raise RuntimeError(msg)
    end = time.time()
    times = pyarrow.dataset.dataset(str(rows)).to_table(columns=["time"])["time"]
    first, last = (found.as_py().timestamp() for found in (pc.min(times), pc.max(times)))
    return {
        "rate": (len(times) - 1) / (last - first),
        "first": first - start,
        "whole": end - start,
        "memory": memory,
    }


def _held(process: psutil.Process) -> float:
    """MiB that a process and all that it has started hold now."""
    held = 0
    with suppress(psutil.NoSuchProcess):
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                held += each.memory_full_info().pss
    return held / 2**20


def _name(model: Path) -> str:
    """Method and teacher of a model, by its record."""
    record = json.loads(record_file(model).read_text())
    return f"{record['method']}, {record['arguments']['backbone']}"


def rate(model: Path, side: int, count: int, threads: int, turns: int) -> list[Row]:
    """Measure each way in turns; return the medians."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        parts = _archive(Path(name), side, count)
        for turn in range(turns):
            for place, way in enumerate(_WAYS):
                measured = _measure(model, parts, way, threads, Path(name, f"rows {place} {turn}"))
                found.append({"way": way, **measured})
    medians = pd.DataFrame(found).groupby("way", sort=False).median()
    return [{"way": way, **row.to_dict()} for way, row in medians.iterrows()]


def memory(model: Path, side: int, count: int, threads: int) -> list[Row]:
    """Measure one process and Ray once each, with few images and with many."""
    found = []
    for images in (count // 10, count):
        with tempfile.TemporaryDirectory() as name:
            parts = _archive(Path(name), side, images)
            for place, way in enumerate(list(_WAYS)[:2]):
                measured = _measure(model, parts, way, threads, Path(name, f"rows {place}"))
                found.append({"way": way, "inspected": images, **measured})
    return found


def grid(options: argparse.Namespace) -> list[Cell]:
    """Return the cells that are asked for.

    Raises:
        ValueError: If there is no such model.
    """
    model = command.existing_file(options, "model")
    machine = command.machine(options)
    where, cells = {"model": _name(model), "side": options.side, **circumstances(machine)}, []
    works = {"rate": (partial(rate, turns=options.turns), options.images), "memory": (memory, options.many)}
    for what, (work, count) in works.items():
        if what in options.what:
            turns = options.turns if what == "rate" else None
            run = partial(work, model, options.side, count, machine.threads)
            cells.append(Cell({"what": what, "images": count, "turns": turns, **where}, f"{what}/{count}", run))
    return cells


def show(rows: pd.DataFrame) -> str:
    """Return Markdown tables: each way's rate, start and memory; memory by number of images."""
    figures = {
        "images/s": Figure("rate", 1),
        "seconds to the first row": Figure("first", 1),
        "seconds in all": Figure("whole", 1),
        "MiB": Figure("memory", 0),
    }
    names = {"model": "model", "way": "way", "images": "images"}
    texts = [each_machine(rows[rows["what"] == "rate"], lambda found: table(found, names, figures))]
    many = rows[rows["what"] == "memory"]
    if len(many):
        many = many.astype({"inspected": int}).assign(inspected=many["inspected"].map("{:,.0f} images".format))
        columns = {"model": "model", "way": "way"}
        texts.append(each_machine(many, lambda found: table(found, columns, {"MiB": figures["MiB"]}, "inspected")))
    return "\n\n".join(texts)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if a run has failed."""
    parser = command.build_parser("benchmarks.speed.archive", __doc__, ["rate", "memory"], device="cpu")
    parser.add_argument("--model", type=Path, help="an OpenVINO export of one of the package's models")
    parser.add_argument("--images", type=int, default=2000, help="for rate (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="of each way, for rate (default: %(default)s)")
    parser.add_argument("--many", type=int, default=100_000, help="for memory (default: %(default)s)")
    parser.add_argument("--side", type=int, default=300, help="of the images, in pixels (default: %(default)s)")
    return command.run(parser, parser.parse_args(arguments), grid, show)


if __name__ == "__main__":
    raise SystemExit(main())
