# SPDX-License-Identifier: Apache-2.0
"""What ``rd-plugin serve`` costs beside ``inspect``: images a second, latency and memory, under several kinds of load.

    python -m benchmarks.speed.serve --model MODEL.xml [--requests 10000] [--side 512]
    python -m benchmarks.speed.serve table

A server in a process of its own gets the quickstart's test images as JPEG files, enlarged, from clients on this
machine, which take a part of its cores. A client sends its next image when it has the row of the last one; an image
that was refused with status 503 is sent again after a second, and its latency counts from the last time. Memory is the
server's own, as it states it, before and after a load.
"""

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from socket import create_connection

import httpx
import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.common import command
from benchmarks.common.grid import Cell, Row
from benchmarks.common.tables import Figure, table
from rd_plugin import Inspector, SolarCells

from .timing import circumstances, each_machine

_FILES = 24  # of different content
_PAUSE = 1.0  # before an image that was refused is sent again
# Clients, share of the requests, and whether every tenth body is damaged and eight connections hang.
_LOADS = {
    "1 client": (1, 0.02, False),
    "8 clients": (8, 0.1, False),
    "8 clients, damaged bodies, hanging connections": (8, 0.1, True),
    "200 clients": (200, 0.2, False),
    "8 clients, all requests": (8, 1.0, False),
}
_ANSWERS = {200, 422, 503}


def _files(folder: Path, side: int) -> list[Path]:
    """Test images as JPEG files of a side."""
    data = SolarCells(num_workers=0)
    data.setup()
    for index, path in enumerate(data.test_data.samples["image_path"][:_FILES]):
        with Image.open(path) as image:
            enlarged = image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
        enlarged.save(folder / f"{index:03}.jpg", quality=92)
    return sorted(folder.iterdir())


@contextmanager
def _serving(model: Path, folder: Path, threads: int) -> Iterator[str]:
    """A server of one product; its address, when the model is loaded."""
    program = [sys.executable, "-m", "rd_plugin"]
    subprocess.run([*program, "products", "add", folder / "products", "cell", model], check=True, capture_output=True)
    arguments = ["serve", folder / "products", "--port", "0", "--threads", str(threads)]
    with subprocess.Popen([*program, *arguments], stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        address = next(line.split("Serving at ")[1].split()[0] for line in server.stderr if "Serving at " in line)
        try:
            while httpx.get(f"{address}/ready").status_code != 200:
                time.sleep(0.1)
            yield address
        finally:
            server.terminate()


def _memory(address: str) -> float:
    """Memory of the server in MiB."""
    found = re.search(r"^process_resident_memory_bytes (\S+)$", httpx.get(f"{address}/metrics").text, re.MULTILINE)
    return float(found[1]) / 2**20 if found else float("nan")


async def load(client: httpx.AsyncClient, bodies: Sequence[bytes], clients: int, requests: int) -> Row:
    """Send images from several clients at a time; each is sent until it is answered.

    Args:
        client: Its connections.
        bodies: What is sent, in turn.
        clients: Number of clients.
        requests: Number of images.

    Returns:
        Images a second, milliseconds, and the number of answers by kind.

    Raises:
        RuntimeError: If an answer has another status than 200, 422 and 503.
    """
    left, seconds, statuses = iter(range(requests)), list[float](), Counter[int]()

    async def send() -> None:
        for number in left:
            status = 503
            while status == 503:
                start = time.perf_counter()
                status = (await client.post("/inspect", content=bodies[number % len(bodies)])).status_code
                statuses[status] += 1
                if status == 503:
                    await asyncio.sleep(_PAUSE)
            seconds.append(time.perf_counter() - start)

    begin = time.perf_counter()
    await asyncio.gather(*(send() for _ in range(clients)))
    rate = requests / (time.perf_counter() - begin)
    if others := set(statuses) - _ANSWERS:
        msg = f"serve has answered with status {others}."
        raise RuntimeError(msg)
    middle, late = 1000 * np.quantile(seconds, [0.5, 0.99])
    return {
        "images": statuses[200] + statuses[422],
        "rate": rate,
        "p50": float(middle),
        "p99": float(late),
        "damaged": statuses[422],
        "refused": statuses[503],
    }


async def _loads(address: str, bodies: list[bytes], requests: int) -> list[Row]:
    rows: list[Row] = []
    damaged = [body[: len(body) // 2] if index % 10 == 0 else body for index, body in enumerate(bodies)]
    host, port = address.removeprefix("http://").split(":")
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    async with httpx.AsyncClient(base_url=address, timeout=300, limits=limits) as client:
        for name, (clients, share, disturbed) in _LOADS.items():
            before = _memory(address)
            with ExitStack() as stack:
                for _ in range(8 if disturbed else 0):
                    stack.enter_context(create_connection((host, int(port)))).sendall(b"POST /inspect HTTP/1.1\r\nHo")
                count = max(clients, round(share * requests))
                found = await load(client, damaged if disturbed else bodies, clients, count)
            rows.append({"load": name, **found, "before": before, "after": _memory(address)})
    return rows


def compute(model: Path, side: int, requests: int, threads: int) -> list[Row]:
    """Inspect files, then send them to a server in each kind of load."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        files = _files(folder / "images", side)
        count = max(_FILES, requests // 50)
        rows = Inspector(model, threads=threads)([str(files[index % len(files)]) for index in range(count)])
        next(rows)
        start = time.perf_counter()
        beside = {"load": "inspect", "images": count, "rate": sum(1 for _ in rows) / (time.perf_counter() - start)}
        with _serving(model, folder, threads) as address:
            return [beside, *asyncio.run(_loads(address, [file.read_bytes() for file in files], requests))]


def grid(options: argparse.Namespace) -> list[Cell]:
    """Return the one cell.

    Raises:
        ValueError: If there is no such model.
    """
    if options.model is None or not options.model.is_file():
        msg = f"there is no model {options.model}."
        raise ValueError(msg)
    machine = command.machine(options)
    settings = {**circumstances(machine), "side": options.side, "requests": options.requests}
    run = partial(compute, options.model.resolve(), options.side, options.requests, machine.threads)
    return [Cell(settings, "serve", run)]


def show(rows: pd.DataFrame) -> str:
    """Return a Markdown table of the loads."""
    whole = dict.fromkeys(("images", "damaged", "refused", "before", "after", "p50", "p99"), 0)
    names = {"images": "images", "p50": "p50, ms", "p99": "p99, ms", "damaged": "422", "refused": "503"}
    names |= {"rate": "images/s", "before": "MiB before", "after": "MiB after"}
    figures = {text: Figure(name, whole.get(name, 1)) for name, text in names.items()}
    return each_machine(rows, lambda found: table(found, {"load": "load"}, figures))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if it has failed."""
    parser = command.build_parser("benchmarks.speed.serve", __doc__, device="cpu")
    add = parser.add_argument
    add("--model", type=Path, help="OpenVINO or ONNX export")
    add("--requests", type=int, default=10_000, help="of the longest load (default: %(default)s)")
    add("--side", type=int, default=512, help="of an image in pixels (default: %(default)s)")
    return command.run(parser, parser.parse_args(arguments), grid, show)


if __name__ == "__main__":
    raise SystemExit(main())
