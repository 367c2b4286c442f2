# SPDX-License-Identifier: Apache-2.0
"""Records of any benchmark: found by their settings, kept, and run again only when asked for."""

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.common import grid
from benchmarks.common.grid import Cell, Machine
from benchmarks.common.records import read
from benchmarks.common.tables import group, markdown, spread, varied

MACHINE = Machine("cpu", threads=1)


def _compute(seed: int, calls: Path | None = None) -> dict[str, Any]:
    """Fail for seed 1; leave a file for each call."""
    if calls is not None:
        (calls / f"{seed}_{time.monotonic_ns()}").touch()
    if seed == 1:
        msg = "no luck"
        raise RuntimeError(msg)
    return {"figures": {"": {"image_AUROC": seed / 10}}, "scores": np.arange(seed)}


def _cells(*seeds: int, calls: Path | None = None) -> list[Cell]:
    return [
        Cell({"data": "solar", "seed": seed}, f"solar/RD, a b/{seed}", partial(_compute, seed, calls)) for seed in seeds
    ]


def test_record_says_what_was_measured(tmp_path: Path) -> None:
    (record,) = grid.run(_cells(3), tmp_path, MACHINE)
    assert record.file.name.startswith("solar_RD_a_b_3_")
    content = json.loads(record.file.read_text())
    assert content["settings"] == {"data": "solar", "seed": 3}
    assert content["figures"] == {"": {"image_AUROC": 0.3}}
    assert "torch" in content["versions"]
    assert (content["threads"], "date" in content, "device" in content) == (1, True, True)
    assert record.arrays()["scores"].tolist() == [0, 1, 2]


def test_record_is_found_by_its_settings(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()
    kept = tmp_path / "records" / "of_before.json"
    kept.parent.mkdir()
    # Another order of the settings, another name, and nothing of what is now written beside them.
    kept.write_text(json.dumps({"settings": {"seed": 2, "data": "solar"}, "figures": {"": {"image_AUROC": 0.5}}}))
    records = grid.run(_cells(2, 3, calls=calls), kept.parent, MACHINE)
    assert [record.content["figures"][""]["image_AUROC"] for record in records] == [0.5, 0.3]
    assert [call.name[0] for call in calls.iterdir()] == ["3"]
    grid.run(_cells(2, calls=calls), kept.parent, MACHINE, retry="all")
    assert json.loads(kept.read_text())["figures"] == {"": {"image_AUROC": 0.2}}
    assert len(read(kept.parent)) == 2


def test_failed_cell_runs_again_when_asked_for(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()
    for retry, count in ((None, 2), (None, 2), ("failed", 3), ("all", 5)):
        records = grid.run(_cells(0, 1, calls=calls), tmp_path / "records", MACHINE, retry=retry)
        assert [record.failed for record in records] == [False, True]
        assert len(list(calls.iterdir())) == count
    assert records[1].content["failure"] == {"type": "RuntimeError", "text": "no luck"}


@pytest.mark.slow
def test_several_cells_at_a_time(tmp_path: Path) -> None:
    records = grid.run(_cells(0, 1, 2), tmp_path, MACHINE, jobs=2)
    assert [record.failed for record in records] == [False, True, False]
    assert len(read(tmp_path)) == 3


def test_cells_by_name_or_part() -> None:
    cells = [Cell({"name": name}, f"solar/{name}/0", dict) for name in ("guided", "unguided", "guided, frozen")]
    assert grid.select(cells, None) == cells
    assert grid.select(cells, ["guided"]) == cells[:1]
    assert grid.select(cells, ["*, frozen", "solar/un*"]) == cells[1:]
    with pytest.raises(ValueError, match=r"--only guide leaves none of 3 cells, such as 'solar/guided/0'\."):
        grid.select(cells, ["guided", "guide"])


def test_tables() -> None:
    assert markdown(["a", "b"], [["x", 1]]) == "| a | b |\n| --- | --- |\n| x | 1 |"
    assert spread([0.5]) == "0.500"
    # Two values are sqrt(2) standard deviations of a sample apart, and two of the whole.
    assert spread([0.5, 0.7]) == "0.600 ± 0.141"
    assert spread([0.5, 0.7], digits=1, percent=True, population=True) == "60.0 ± 10.0"


def test_settings_that_vary(tmp_path: Path) -> None:
    records = grid.run(_cells(0, 1, 2), tmp_path, MACHINE)
    assert varied(records, "data", "seed") == ["seed"]
    found = group(records, "data", "seed")
    # Failures have nothing to show.
    assert list(found) == [("solar", 0), ("solar", 2)]
