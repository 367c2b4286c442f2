# SPDX-License-Identifier: Apache-2.0
"""How many images ``rd-plugin inspect`` inspects a second, beside OpenVINO's benchmark; where the time goes; memory.

    python -m benchmarks.speed.inspect throughput --checkpoint CHECKPOINT [--sides 300 512 1024]
    python -m benchmarks.speed.inspect memory --checkpoint CHECKPOINT [--images 10000]
    python -m benchmarks.speed.inspect table

Images are the test images of solar cells, enlarged. OpenVINO's ``benchmark_app``, images that are decoded already and
files take turns, with the same export and as many threads. Memory is that of the whole process, over many files of
which one in a hundred cannot be read.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.common import command
from benchmarks.common.grid import Cell
from benchmarks.common.grid import Row as Measured
from benchmarks.common.tables import Figure, table
from benchmarks.common.trained import load_trained
from rd_plugin import Inspector, SolarCells
from rd_plugin.inspection import Source
from rd_plugin.inspection.pipeline import in_order
from rd_plugin.results import InspectionResult, ResultFile

from .deployed import compile_for_latency, export
from .timing import circumstances, each_machine, take_turns

_TURNS = 5
_IMAGES = 24  # files of each size, inspected again and again
_SECONDS = 8.0  # a turn of each
_BAD = 100  # one file of so many
_SAMPLES = 10  # of memory


def _files(folder: Path, side: int, count: int) -> list[Path]:
    """Test images as PNG files of a side."""
    data = SolarCells(num_workers=0)
    data.setup()
    files = []
    for index, path in enumerate(data.test_data.samples["image_path"][:count]):
        file = folder / f"{index:03}.png"
        with Image.open(path) as image:
            image.resize((side, side), Image.Resampling.LANCZOS).save(file)
        files.append(file)
    return files


def _rate(rows: Iterator[InspectionResult], seconds: float) -> float:
    """Images a second, once the first have come."""
    next(rows)
    start = time.perf_counter()
    count = 0
    for row in rows:
        if row.reason:
            raise RuntimeError(row.reason)
        count += 1
        if time.perf_counter() - start > seconds:
            break
    return count / (time.perf_counter() - start)


def _benchmark_app(model: Path, side: int, threads: int, seconds: float, folder: Path) -> float:
    """Images a second by OpenVINO's own benchmark."""
    program = shutil.which("benchmark_app", path=str(Path(sys.executable).parent))
    if program is None:
        msg = "there is no benchmark_app beside Python; it comes with the package openvino."
        raise RuntimeError(msg)
    shape = f"[1,3,{side},{side}]"
    # It takes -nthreads only without a hint.
    settings = folder / "settings.json"
    settings.write_text(json.dumps({"CPU": {"INFERENCE_NUM_THREADS": str(threads)}}))
    options = ["-hint", "throughput", "-infer_precision", "f32", "-load_config", settings, "-t", int(seconds)]
    report = ["-json_stats", "-report_type", "no_counters", "-report_folder", folder]
    arguments = [program, "-m", model, "-d", "CPU", "-data_shape", shape, *options, *report]
    subprocess.run([str(word) for word in arguments], check=True, capture_output=True, text=True, timeout=600)
    results = json.loads((folder / "benchmark_report.json").read_text())["execution_results"]
    return float(results["throughput"])


def throughput(checkpoint: Path, side: int, threads: int) -> list[Measured]:
    """Measure images a second of each side's pixels, in turns, and the parts that one image takes, alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = _files(folder, side, _IMAGES)
        model = export(load_trained(checkpoint), folder, None, SolarCells(num_workers=0))
        inspector = Inspector(model, threads=threads, workers=threads)
        arrays = [np.asarray(Image.open(file).convert("RGB")) for file in files]
        workers = threads + inspector.inferencer.parallel

        def decoded() -> float:
            return _rate(in_order(inspector.predict, cycle(arrays), workers), _SECONDS)

        def from_files() -> float:
            table = ResultFile(folder / "verdicts.csv", "csv", resumed=(folder / "verdicts.csv").exists())
            rows = inspector.inspect(Source(str(file)) for file in cycle(files))

            def written() -> Iterator[InspectionResult]:
                for row in rows:
                    table.write(row)
                    yield row

            return _rate(written(), _SECONDS)

        tasks = {
            "benchmark_app": partial(_benchmark_app, model, side, threads, _SECONDS, folder),
            "decoded": decoded,
            "files": from_files,
        }
        rates: dict[str, list[float]] = {task: [] for task in tasks}
        for _ in range(_TURNS):
            for task, measure in tasks.items():
                rates[task].append(measure())
        medians = {task: statistics.median(found) for task, found in rates.items()}
        return [{**medians, **_parts(inspector, model, files, arrays, folder)}]


def _parts(
    inspector: Inspector, model: Path, files: list[Path], arrays: list[np.ndarray], folder: Path
) -> dict[str, float]:
    """Milliseconds of each part of an image's way, one image at a time."""
    compiled = compile_for_latency(model)
    batch = arrays[0].transpose(2, 0, 1)[None].astype(np.float32) / 255
    small = np.ascontiguousarray(batch[:, :, :256, :256])
    row = inspector.predict(arrays[0])
    table = ResultFile(folder / "parts.csv", "csv")

    def decode() -> None:
        with Image.open(files[0]) as image:
            np.asarray(image.convert("RGB"))

    tasks = {
        "decode": decode,
        "infer and resize": partial(compiled, batch),
        "infer": partial(compiled, small),
        "write": partial(table.write, row),
    }
    found = {task: statistics.median(times) for task, times in take_turns(tasks, 30, warm_up=3).items()}
    return {
        "decode": found["decode"],
        "resize": found["infer and resize"] - found["infer"],
        "infer": found["infer"],
        "write": found["write"],
    }


def _resident() -> float:
    """MiB of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def memory(checkpoint: Path, count: int, threads: int) -> list[Measured]:
    """Inspect that many files, one in a hundred of which cannot be read, and look at the memory on the way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        good = _files(folder, 300, _BAD - 1)
        bad = folder / "bad.png"
        bad.write_bytes(good[0].read_bytes()[:1000])
        model = export(load_trained(checkpoint), folder, None, SolarCells(num_workers=0))
        inspector = Inspector(model, threads=threads, workers=threads)
        table = ResultFile(folder / "verdicts.csv", "csv")
        sources = (Source(str(file)) for file in islice(cycle([*good, bad]), count))
        held, refused = [], 0
        for index, row in enumerate(inspector.inspect(sources), start=1):
            table.write(row)
            refused += bool(row.reason)
            if index % max(1, count // _SAMPLES) == 0:
                held.append({"after": index, "resident": _resident()})
        return [{**row, "predicted": count - refused, "errors": refused} for row in held]


def grid(options: argparse.Namespace) -> list[Cell]:
    """Return the cells that are asked for.

    Raises:
        ValueError: If there is no such checkpoint.
    """
    checkpoint = command.existing_file(options, "checkpoint")
    machine = command.machine(options)
    where = circumstances(machine)
    cells = []
    if "throughput" in options.what:
        for side in options.sides:
            run = partial(throughput, checkpoint, side, machine.threads)
            cells.append(Cell({"what": "throughput", "side": side, "images": None, **where}, f"throughput/{side}", run))
    if "memory" in options.what:
        run = partial(memory, checkpoint, options.images, machine.threads)
        cells.append(
            Cell({"what": "memory", "side": None, "images": options.images, **where}, f"memory/{options.images}", run)
        )
    return cells


def show(rows: pd.DataFrame) -> str:
    """Return Markdown tables: images a second by size with the parts of an image's time, and memory."""
    throughput = rows[rows["what"] == "throughput"].sort_values("side")
    rates = {
        "`benchmark_app`, images/s": Figure("benchmark_app", 1),
        "decoded images": Figure("decoded", 1),
        "files": Figure("files", 1),
    }
    for task in ("decoded", "files"):
        if len(throughput):
            throughput = throughput.assign(**{f"share_{task}": throughput[task] / throughput["benchmark_app"]})
        rates[f"share, {task}"] = Figure(f"share_{task}", 2)
    parts = {f"{part}, ms": Figure(part, 1) for part in ("decode", "resize", "infer", "write")}
    memory = rows[rows["what"] == "memory"]
    texts = [each_machine(throughput, lambda found: table(found, {"pixels": "side"}, rates | parts))]
    for _, found in memory.groupby("images"):
        found = found.assign(after=found["after"].map("{:,}".format))
        texts.append(table(found, {"images": "images"}, {"": Figure("resident", 0)}, "after"))
        last = found.iloc[-1]
        texts.append(
            f"MiB after as many images; {last['predicted']:,.0f} have a score, {last['errors']:,.0f} an error."
        )
    return "\n\n".join(texts)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if a run has failed."""
    parser = command.build_parser("benchmarks.speed.inspect", __doc__, ["throughput", "memory"], device="cpu")
    parser.add_argument("--checkpoint", type=Path, help="of one of the package's models")
    parser.add_argument("--sides", type=int, nargs="+", default=[300, 512, 1024], help="(default: %(default)s)")
    parser.add_argument("--images", type=int, default=10000, help="for memory (default: %(default)s)")
    return command.run(parser, parser.parse_args(arguments), grid, show)


if __name__ == "__main__":
    raise SystemExit(main())
