# SPDX-License-Identifier: Apache-2.0
"""How long does an epoch of images take from object storage, with a cache on the disk and without one?

    python -m benchmarks.speed.storage [--images 300] [--side 512] [--epochs 3]
    python -m benchmarks.speed.storage table

A ``PartsFolder`` reads and decodes the training images of random textures, without a network: from the disk, and from
an S3 server on this machine (moto's, in a process of its own) with a cache of none, half and all of them. Figures are
milliseconds for an image: of the clock, and of processor time of the reading process, which depends less on what else
the machine does. Latency and bandwidth of a real network come on top. ``s3fs`` and ``moto[server]`` must be installed.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.common import command
from benchmarks.common.grid import Cell, Row
from benchmarks.common.tables import Figure, table
from rd_plugin import PartsFolder

from .timing import circumstances, each_machine

# Share of the images that the cache holds; without one the images are on the disk.
_CACHES = {"disk": None, "S3, no cache": 0.0, "S3, cache of half": 0.5, "S3, cache of all": 1.0}
_BUCKET = "s3://benchmark"


def _write(folder: Path, images: int, side: int) -> int:
    """Write images of smooth textures; return their bytes."""
    rng = np.random.default_rng(0)
    for index in range(images):
        coarse = Image.fromarray(rng.integers(0, 255, (side // 8, side // 8, 3), np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{index:05}.png")
    return sum(file.stat().st_size for file in folder.iterdir())


@contextmanager
def _server() -> Iterator[None]:
    """An S3 server on this machine, which the environment leads to."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    address = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update(address, AWS_ACCESS_KEY_ID="benchmark", AWS_SECRET_ACCESS_KEY="benchmark")
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait()


def _epochs(root: str | Path, folder: Path, share: float | None, size: int, epochs: int) -> list[tuple[float, float]]:
    """Milliseconds of clock and processor for an image, in each epoch over the training images."""
    cache = {} if share is None else {"cache_dir": folder / f"cache{share}", "cache_bytes": int(share * size)}
    data = PartsFolder(root, val_split_ratio=0.01, test_split_ratio=0.01, num_workers=0, **cache)
    data.setup()
    found, images = [], len(data.train_data)
    for _ in range(epochs):
        start, used = time.perf_counter(), time.process_time()
        for _batch in data.train_dataloader():
            pass
        found.append((1000 * (time.perf_counter() - start) / images, 1000 * (time.process_time() - used) / images))
    return found


def compute(settings: dict[str, int]) -> list[Row]:
    """Read the images from each place."""
    import fsspec

    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place, _server():
        folder = Path(place)
        (folder / "parts" / "good").mkdir(parents=True)
        size = _write(folder / "parts" / "good", settings["images"], settings["side"])
        files = fsspec.filesystem("s3")
        files.mkdir(_BUCKET)
        files.put(str(folder / "parts"), f"{_BUCKET}/parts", recursive=True)
        for name, share in _CACHES.items():
            root = folder / "parts" if share is None else f"{_BUCKET}/parts"
            found = _epochs(root, folder, share, size, settings["epochs"])
            rows += [
                {"images from": name, "epoch": epoch, "clock": clock, "processor": processor}
                for epoch, (clock, processor) in enumerate(found, 1)
            ]
    return rows


def grid(options: argparse.Namespace) -> list[Cell]:
    """Return the one cell."""
    settings = {"images": options.images, "side": options.side, "epochs": options.epochs}
    settings = {**circumstances(command.machine(options)), **settings}
    return [Cell(settings, "storage", partial(compute, settings))]


def show(rows: pd.DataFrame) -> str:
    """Return a Markdown table of milliseconds for an image."""
    return each_machine(rows, _table)


def _table(rows: pd.DataFrame) -> str:
    rows = rows.assign(column="epoch " + rows["epoch"].astype(str))
    figures = {"clock": Figure("clock", 0), "processor": Figure("processor", 0)}
    return table(rows, {"images from": "images from"}, figures, "column", list(dict.fromkeys(rows["column"])))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if it has failed."""
    parser = command.build_parser("benchmarks.speed.storage", __doc__, device="cpu")
    add = parser.add_argument
    add("--images", type=int, default=300)
    add("--side", type=int, default=512, help="of an image in pixels")
    add("--epochs", type=int, default=3)
    return command.run(parser, parser.parse_args(arguments), grid, show)


if __name__ == "__main__":
    raise SystemExit(main())
