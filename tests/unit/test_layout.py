# SPDX-License-Identifier: Apache-2.0
"""The rooms of the package stand on one another: none knows of one above it, and none of a neighbour that knows it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import rd_plugin

ROOT = Path(rd_plugin.__file__).parent

# From the ground up. A room may import from those that stand before it.
ROOMS = (
    "renamed",
    "configurations",
    "storage",
    "results",
    "components",
    "data",
    "synthetic",
    "by_part",
    "provenance",
    "drift",
    "report",
    "export",
    "callbacks",
    "evaluator",
    "post_processor",
    "visualizer",
    "models.distillation",
    # Any method; one may build on another.
    "models.*",
    "models",
    "convert",
    "inspection",
    "thresholds",
    "feedback",
    "products",
    "comparison",
    "delivery",
    "serving",
    "commands",
    "registration",
)
# Doors of the house, which lead to every room.
DOORS = {"", "__main__", "interface"}
METHOD_FOLDERS = {f"models.{path.parent.name}" for path in ROOT.glob("models/*/__init__.py")} - {"models.distillation"}
# What must not be loaded with a room, by itself or through another.
UNLOADED = {
    "configurations": ("torch", "anomalib"),
    "storage": ("torch", "anomalib"),
    "results": ("torch", "anomalib"),
    "drift": ("torch", "anomalib"),
    "inspection": ("torch", "anomalib"),
    "products": ("torch", "anomalib"),
    "delivery": ("torch", "anomalib"),
    "serving": ("torch", "anomalib"),
    "components": ("lightning", "anomalib.data"),
}


def _room(module: str) -> str:
    """The room that a module of the package stands in, given without the package's name."""
    if module in METHOD_FOLDERS or module.rpartition(".")[0] in METHOD_FOLDERS:
        return "models.*"
    fits = [room for room in ROOMS if module == room or module.startswith(f"{room}.")]
    return max(fits, key=len, default=module)


def _imports(file: Path) -> Iterator[str]:
    """The package's modules that a file imports, at once or by its stub, without the package's name."""
    package = file.relative_to(ROOT.parent).parent.parts
    stub = file.with_suffix(".pyi")
    tree = ast.parse((stub if stub.exists() else file).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join([*base, *([node.module] if node.module else [])])
            if name.split(".")[0] == "rd_plugin":
                yield name.removeprefix("rd_plugin").removeprefix(".")


def _module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


FILES = {_module(file): file for file in sorted(ROOT.rglob("*.py")) if "__pycache__" not in file.parts}


def test_every_file_stands_in_a_room() -> None:
    assert {module for module in FILES if _room(module) not in ROOMS} == DOORS


def test_no_arrow_runs_upward() -> None:
    height = {room: index for index, room in enumerate(ROOMS)}
    upward = [
        f"{module} imports {imported}"
        for module, file in FILES.items()
        if module not in DOORS
        for imported in _imports(file)
        if height.get(_room(imported), len(ROOMS)) > height[_room(module)]
    ]
    assert not upward


def test_no_circle_of_files() -> None:
    graph = {module: {name for name in _imports(file) if name in FILES} for module, file in FILES.items()}
    # A file imports its own package's face only if that face does not import it.
    list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("room", UNLOADED)
def test_what_a_room_loads(room: str) -> None:
    """In a new process, since a room may load what it does not import itself."""
    code = f"import sys, rd_plugin.{room}; print([name for name in {UNLOADED[room]} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


_FUSED = "models.fused_reverse_distillation"
# Without a test file of the same name: what tests it.
TESTED_ELSEWHERE = {
    "__main__": "tests/integration/test_tool.py",
    "models.distillation.lightning_model": "tests/unit/models/base.py",
    "models.distillation.torch_model": "tests/unit/models/base.py",
    f"{_FUSED}.light": "tests/compatibility/test_releases.py",
    f"{_FUSED}.statistics": "tests/unit/models/fused_reverse_distillation/test_lightning_model.py",
}


def test_every_file_has_its_test() -> None:
    """The test of ``rd_plugin/room/file.py`` is ``tests/unit/room/test_file.py``."""
    tests = Path(__file__).parent
    files = (file.relative_to(ROOT) for file in FILES.values() if file.name != "__init__.py")
    missing = {_module(ROOT / file) for file in files if not (tests / file.parent / f"test_{file.name}").exists()}
    assert missing == set(TESTED_ELSEWHERE)
    assert all((ROOT.parent / place).is_file() for place in TESTED_ELSEWHERE.values())
