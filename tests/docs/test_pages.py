# SPDX-License-Identifier: Apache-2.0
"""README and documentation: what they tell the reader to run, runs and prints what they say."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rd_plugin.configurations import configuration_names
from tests.conftest import _save, _stain, _tile

from .blocks import ADDED, SKIPPED, Block, commands, differs, read_blocks

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "benchmarks" / "results").glob("*.md")),
]
PAGES = [page for page in PAGES if not {"_build", "rooms"} & set(page.parts)]

_SEPARATOR = "-- end of block --"
# Those of contributing install or check the whole project; .ci/run and the build do that.
_RUN = [page for page in PAGES if page.name != "CONTRIBUTING.md"]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _runs(page: Path) -> list[Block]:
    """The blocks of a page that are run."""
    return [block for block in read_blocks(page) if block.run not in SKIPPED]


def _own_parts(root: Path, seed: int = 0) -> None:
    """A folder of a reader's own parts: good ones, defects and their masks."""
    rng = np.random.default_rng(seed)
    for index in range(40):
        _save(_tile(rng), root / "good" / f"{index:03}.png")
    for index in range(10):
        mask = _stain(rng)
        _save(np.where(mask[..., None], (0.2, 0.1, 0.05), _tile(rng)), root / "defect" / f"{index:03}.png")
        _save(mask, root / "mask" / f"{index:03}.png")


def _own_classes(root: Path) -> None:
    """A folder of classes: discs and stripes."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    for split, count in (("train", 200), ("test", 8)):
        for index in range(count):
            centre, phase = rng.uniform(12, 20, size=2), rng.uniform(0, 8)
            shapes = {
                "round": np.hypot(rows - centre[0], columns - centre[1]) < 8,
                "striped": (columns + phase) % 8 < 4,
            }
            for name, shape in shapes.items():
                path = root / split / name / f"{index:03}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((255 * shape).astype(np.uint8)).save(path)


@pytest.fixture
def checkout(tmp_path: Path, mvtec_root: Path) -> Path:
    """A folder with what a reader has: the configurations, and data of their own."""
    for name in ("configs", "benchmarks"):
        (tmp_path / name).symlink_to(ROOT / name)
    _own_parts(tmp_path / "my_parts")
    _own_parts(tmp_path / "new_parts", seed=1)
    for seed, part in enumerate(("cap", "screw")):
        _own_parts(tmp_path / "all_parts" / part, seed=2 + seed)
    _own_classes(tmp_path / "my_classes")
    shutil.copytree(mvtec_root / "tile", tmp_path / "datasets" / "MVTecAD" / "bottle")
    return tmp_path


def _shell(block: Block) -> str:
    lines = commands(block.text)
    if block.run:
        training = re.compile(r"(anomalib|rd-plugin) (train|fit) ")
        lines = [f"{line} {ADDED[block.run]}" if training.match(line) else line for line in lines]
    return "\n".join(lines)


def _execute(arguments: list[str], folder: Path, script: str = "") -> tuple[int, str, str]:
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": programs, "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "120"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        arguments, cwd=folder, env=environment, input=script, capture_output=True, text=True, check=False, timeout=1200
    )
    return done.returncode, done.stdout, done.stderr


def test_every_block_says_how_it_is_run() -> None:
    words = {block.run for page in PAGES for block in read_blocks(page)}
    assert words <= {"", *ADDED, *SKIPPED}


def test_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 130
    assert max(map(len, lines)) <= 120


def test_tests_that_pages_name_exist() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    tests += (ROOT / "tests" / "unit" / "models" / "base.py").read_text()
    named = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text())}
    assert len(named) > 20
    assert {name for name in named if f"def {name}(" not in tests} == set()


def test_files_that_pages_link_to_exist() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"):
        links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
        assert links
        assert [link for link in links if not (page.parent / link).exists()] == []


def test_configurations_that_pages_name_exist() -> None:
    named = {name for page in PAGES for name in re.findall(r"configs/(\w+)\.yaml", page.read_text())}
    assert named <= set(configuration_names())


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in _RUN if _runs(page)], ids=_name)
def test_blocks_run_and_print_what_the_page_says(page: Path, checkout: Path) -> None:
    """Shell blocks in order, each in a shell; then all Python blocks in one process."""
    for block in _runs(page):
        if block.language != "bash" or not commands(block.text):
            continue
        status, output, errors = _execute(["bash", "-euo", "pipefail", "-c", _shell(block)], checkout)
        assert status == 0, f"{_name(page)}:{block.line}\n{output[-2000:]}{errors[-2000:]}"
        if block.output:
            wrong = differs(block.output, output + errors)
            assert wrong is None, f"{_name(page)}:{block.line}: {wrong}\n{output[-2000:]}{errors[-2000:]}"
    python = [block for block in _runs(page) if block.language == "python"]
    if not python:
        return
    script = "".join(f"{block.text}\nprint({_SEPARATOR!r}, flush=True)\n" for block in python)
    status, output, errors = _execute([sys.executable, "-"], checkout, script)
    assert status == 0, f"{_name(page)}\n{output[-2000:]}{errors[-2000:]}"
    for block, printed in zip(python, output.split(_SEPARATOR), strict=False):
        wrong = differs(block.output, printed) if block.output else None
        assert wrong is None, f"{_name(page)}:{block.line}: {wrong}\n{printed[-2000:]}"
