# SPDX-License-Identifier: Apache-2.0
"""What Ray costs ``rd-plugin inspect``: images a second, seconds to the first result and memory, without and with it.

    python -m benchmarks.speed.archive rate --model MODEL.xml [--images 2000] [--side 300]
    python -m benchmarks.speed.archive memory --model MODEL.xml [--many 100000]
    python -m benchmarks.speed.archive table

The same export inspects the same PNG files on the same cores: in the pipeline of one process, and on a Ray cluster of
this machine with one actor on all cores, and with two that share them. The ways take turns. The rate is that between
the first and the last row, by the rows' own times; the memory is the highest of the process that is started, without
Ray's others, whose number does not depend on the images.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pyarrow.dataset
from PIL import Image

from benchmarks.common import command
from benchmarks.common.grid import Cell, Row
from benchmarks.common.tables import Figure, table
from rd_plugin import SolarCells

from .timing import circumstances, each_machine

_TURNS = 3
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
    start = time.time()
    with subprocess.Popen(
        [*map(str, program), *_WAYS[way]], stdout=subprocess.DEVNULL, env={**os.environ, "RAY_ADDRESS": "local"}
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        msg = f"{way}: inspect has ended with {process.returncode}."
        raise RuntimeError(msg)
    times = pyarrow.dataset.dataset(str(rows)).to_table(columns=["time"])["time"]
    first, last = (found.as_py().timestamp() for found in (pc.min(times), pc.max(times)))
    return {
        "rate": (len(times) - 1) / (last - first),
        "first": first - start,
        "whole": time.time() - start,
        "memory": usage.ru_maxrss / 2**10,
    }


def rate(model: Path, side: int, count: int, threads: int) -> list[Row]:
    """Measure each way in turns; return the medians."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        parts = _archive(Path(name), side, count)
        for turn in range(_TURNS):
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
    if options.model is None or not options.model.is_file():
        msg = f"there is no model {options.model}."
        raise ValueError(msg)
    machine = command.machine(options)
    where, cells = circumstances(machine), []
    for what, work, count in (("rate", rate, options.images), ("memory", memory, options.many)):
        if what in options.what:
            run = partial(work, options.model.resolve(), options.side, count, machine.threads)
            cells.append(Cell({"what": what, "side": options.side, "images": count, **where}, f"{what}/{count}", run))
    return cells


def show(rows: pd.DataFrame) -> str:
    """Return Markdown tables: each way's rate, start and memory; memory by number of images."""
    figures = {
        "images/s": Figure("rate", 1),
        "seconds to the first row": Figure("first", 1),
        "seconds in all": Figure("whole", 1),
        "MiB": Figure("memory", 0),
    }
    names = {"way": "way", "images": "images"}
    texts = [each_machine(rows[rows["what"] == "rate"], lambda found: table(found, names, figures))]
    many = rows[rows["what"] == "memory"]
    if len(many):
        many = many.astype({"inspected": int})
        texts.append(table(many, {"way": "way", "images": "inspected"}, {"MiB": figures["MiB"]}))
    return "\n\n".join(texts)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if a run has failed."""
    parser = command.build_parser("benchmarks.speed.archive", __doc__, ["rate", "memory"], device="cpu")
    parser.add_argument("--model", type=Path, help="an OpenVINO export of one of the package's models")
    parser.add_argument("--images", type=int, default=2000, help="for rate (default: %(default)s)")
    parser.add_argument("--many", type=int, default=100_000, help="for memory (default: %(default)s)")
    parser.add_argument("--side", type=int, default=300, help="of the images, in pixels (default: %(default)s)")
    return command.run(parser, parser.parse_args(arguments), grid, show)


if __name__ == "__main__":
    raise SystemExit(main())
