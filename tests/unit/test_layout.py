# SPDX-License-Identifier: Apache-2.0
"""The rooms of the package stand on one another: none knows of one above it, and none of a neighbour that knows it."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import rd_plugin

ROOT = Path(rd_plugin.__file__).parent

# From the ground up. A room may import from those that stand before it.
ROOMS = (
    "configurations",
    "storage",
    "components",
    "synthetic",
    "data",
    "provenance",
    "drift",
    "results",
    "report",
    "export",
    "callbacks",
    "evaluator",
    "post_processor",
    "visualizer",
    "models.distillation",
    "models.reverse_distillation",
    "models.expert_reverse_distillation",
    "models.fused_reverse_distillation",
    "models",
    "convert",
    "inspection",
    "commands",
    "registration",
)
# Doors of the house, which lead to every room.
DOORS = {"", "__main__", "interface"}


def _room(module: str) -> str:
    """The room that a module of the package stands in, given without the package's name."""
    fits = [room for room in ROOMS if module == room or module.startswith(f"{room}.")]
    return max(fits, key=len, default=module)


def _imports(file: Path) -> Iterator[str]:
    """The package's modules that a file imports when it is imported, without the package's name."""
    package = file.relative_to(ROOT.parent).parent.parts
    tree = ast.parse(file.read_text())
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


def test_network_parts_know_no_lightning() -> None:
    for room in ("components", "synthetic"):
        for file in (ROOT / room).glob("*.py"):
            imported = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
            assert not [node.module for node in imported if (node.module or "").startswith("lightning")], file
