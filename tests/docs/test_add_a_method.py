# SPDX-License-Identifier: Apache-2.0
"""The guide to a new method: what it says to write is written, and the method trains, is inspected and is exported."""

import re
import shutil
from pathlib import Path

import numpy as np

from tests.conftest import _save, _stain, _tile

from ..processes import run_code, run_function
from .blocks import commands, read_blocks

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "architecture" / "add-a-method.md"
SMALL = (
    "--model.backbone test_efficientnet --model.pre_trained false --model.image_size [32,32] "
    "--trainer.max_steps 2 --data.num_workers 0"
)
# A command after the other, as if each had just been typed.
PROGRAM = """
import sys
sys.path.insert(0, ".")
import rd_plugin
assert rd_plugin.__file__.startswith(sys.argv[1]), rd_plugin.__file__
from rd_plugin.commands.tool import main
for line in sys.argv[2:]:
    sys.argv = line.split()
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""


def _change(path: Path, diff: str) -> None:
    """Insert the lines that begin with ``+``, each run of them behind the line above it."""
    lines, place = path.read_text().splitlines(), -1
    for change in diff.splitlines():
        if change.startswith("+"):
            place += 1
            lines.insert(place, change[1:])
        elif change != "...":
            assert lines.count(change[1:]) == 1, f"{path.name} has no such line: {change[1:]}"
            place = lines.index(change[1:])
    path.write_text("\n".join(lines) + "\n")


def test_guide(tmp_path: Path) -> None:
    for folder in ("rd_plugin", "configs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    blocks = read_blocks(GUIDE)
    for text in (block.text for block in blocks if block.language == "python"):
        path = tmp_path / text.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    for name, diff in re.findall(r"^```diff\n# (\S+)\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL):
        _change(tmp_path / name, diff)
    rng = np.random.default_rng(0)
    for index in range(12):
        _save(_tile(rng), tmp_path / "my_parts" / "good" / f"{index:02}.png")
    for index in range(2):
        image = np.where(_stain(rng)[..., None], (0.2, 0.1, 0.05), _tile(rng))
        _save(image, tmp_path / "my_parts" / "defect" / f"{index:02}.png")
    typed = commands(next(block.text for block in blocks if block.language == "bash"))
    lines = [f"{line} {SMALL}" if " train " in line else line for line in typed]
    done = run_function(tmp_path, run_code, PROGRAM, str(tmp_path), *lines, CUDA_VISIBLE_DEVICES="", COLUMNS="120")
    assert done.status == 0, done.output[-3000:]
    # Both inspections look at both defects.
    assert len(re.findall(r"^my_parts/defect/0[01]\.png", done.output, re.MULTILINE)) == 4, done.output[-3000:]
