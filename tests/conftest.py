# SPDX-License-Identifier: Apache-2.0
"""Fixtures that unit and integration tests share, and the options of a run."""

import os
import shutil
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from lightning import seed_everything
from PIL import Image

SIDE = 96
TRAIN_IMAGES = 12
TEST_IMAGES = 4
_PAGES = Path(__file__).parent / "docs" / "test_pages.py"
# When no more tests begin, in seconds since the epoch.
_END = "RD_PLUGIN_TESTS_END"
_SLOW_TIMEOUT = 1800  # seconds

# The networks here are so small that threads wait for each other longer than they compute.
torch.set_num_threads(1)
# So are those of the programs that tests start, one beside the other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Give each test the same random numbers, whichever tests ran before it."""
    seed_everything(0, verbose=False)


@pytest.fixture(autouse=True)
def _constructor_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the constructor of modules: torch.compile wraps it, and jsonargparse then misses inherited arguments."""
    monkeypatch.setattr(torch.nn.Module, "__init__", torch.nn.Module.__init__)


@pytest.fixture
def small_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the noise of synthetic defects for small images, not for a million pixels at each step."""
    monkeypatch.setattr("rd_plugin.synthetic.twins._PIXELS_PER_CELL", 2)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder with the numbers of the authors' own programs."""
    return Path(__file__).parent / "golden"


def _tile(rng: np.random.Generator) -> np.ndarray:
    """A smooth wavy texture with a little grain, RGB in [0, 1]."""
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    phase = rng.uniform(0, 2 * np.pi, size=3)
    waves = np.stack([np.sin(2 * np.pi * (3 * rows + (2 + c) * columns) + phase[c]) for c in range(3)], axis=-1)
    return np.clip(0.55 + 0.12 * waves + rng.normal(0, 0.01, size=waves.shape), 0, 1)


def _scratch(rng: np.random.Generator) -> np.ndarray:
    """Mask of a slanted line, four pixels wide and two thirds of the tile long."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    centre, slope = rng.uniform(0.35 * SIDE, 0.65 * SIDE), rng.uniform(-0.4, 0.4)
    within = np.abs(columns - SIDE / 2) < SIDE / 3
    return within & (np.abs(rows - centre - slope * (columns - SIDE / 2)) < 2)


def _stain(rng: np.random.Generator) -> np.ndarray:
    """Mask of a disc."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    centre = rng.uniform(0.3 * SIDE, 0.7 * SIDE, size=2)
    return np.hypot(rows - centre[0], columns - centre[1]) < rng.uniform(9, 13)


def _save(image: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.round(255 * image).astype(np.uint8)).save(path)


@pytest.fixture(scope="session")
def mvtec_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a data set in MVTec AD's layout: one category, "tile", with scratches and stains."""
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("mvtec")
    for folder, count in (("train/good", TRAIN_IMAGES), ("test/good", TEST_IMAGES)):
        for index in range(count):
            _save(_tile(rng), root / "tile" / folder / f"{index:03}.png")
    for defect, draw, colour in (("scratch", _scratch, (0.95, 0.95, 0.9)), ("stain", _stain, (0.2, 0.1, 0.05))):
        for index in range(TEST_IMAGES):
            mask = draw(rng)
            image = np.where(mask[..., None], colour, _tile(rng))
            _save(image, root / "tile" / "test" / defect / f"{index:03}.png")
            _save(mask, root / "tile" / "ground_truth" / defect / f"{index:03}_mask.png")
    return root


@pytest.fixture
def root(mvtec_root: Path, tmp_path: Path) -> Path:
    """A copy of that data set, which a test may change."""
    return Path(shutil.copytree(mvtec_root, tmp_path / "data"))


@pytest.fixture
def in_tmp_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run the test in a folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """fsspec's file system in memory, in place of object storage; empty again after the test."""
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run have a limit, and take a third of its tests: slow ones need both where a machine is slow."""
    parser.addoption("--minutes", type=float, help="skip tests that would begin later than this")
    parser.addoption("--third", type=int, metavar="N", help="only a third of the tests, the same for N, N + 3, ...")


def pytest_configure(config: pytest.Config) -> None:
    """Set the time at which no more tests begin, for all workers."""
    if (minutes := config.getoption("--minutes")) is not None:
        os.environ.setdefault(_END, str(time.time() + 60 * minutes))


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say which third of the tests is run."""
    third = config.getoption("--third")
    return None if third is None else f"third {third % 3 + 1} of 3 of the tests (--third {third})"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test for which there is no time."""
    if time.time() > float(os.environ.get(_END, "inf")):
        pytest.skip(f"{item.config.getoption('--minutes'):g} minutes have passed")


def _group(item: pytest.Item) -> str:
    """Return what tests share that run in one process: a trained model, or a file's fixtures; a page stands alone."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    shared = {"trained", "exported"} & set(getattr(item, "fixturenames", ()))
    if shared and "method" in parameters:
        return str(parameters["method"].__name__)
    if "page" in parameters:
        return item.nodeid
    file = item.nodeid.partition("::")[0]
    return f"{file} {parameters['model']}" if "model" in parameters else file


def in_third(group: str, third: int) -> bool:
    """Return whether a group is in a third of all: by its name alone, so that three runs in turn run each once."""
    return zlib.crc32(group.encode()) % 3 == third % 3


# Before pytest-xdist reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give tests that share something to one worker, so that it is made once; leave out what was not asked for.

    The pages of the documentation come last: each takes minutes. Thirds have a new order in each run, so that a limit
    does not skip the same tests each time.
    """
    items.sort(key=lambda item: item.path == _PAGES)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_SLOW_TIMEOUT))
    third = config.getoption("--third")
    if third is not None:
        chosen = [item for item in items if in_third(_group(item), third)]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = sorted(chosen, key=lambda item: zlib.crc32(f"{third} {_group(item)}".encode()))
