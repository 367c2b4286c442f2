# SPDX-License-Identifier: Apache-2.0
"""Records of any benchmark: found by their settings, kept, and run again only when asked for; and their tables."""

import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.common import grid, records
from benchmarks.common.grid import Cell, Machine, Row
from benchmarks.common.tables import Figure, markdown, spread, table, varied

MACHINE = Machine("cpu", threads=1)


def _compute(seed: int, calls: Path | None = None) -> list[Row]:
    """Fail for seed 1; leave a file for each call."""
    if calls is not None:
        (calls / f"{seed}_{time.monotonic_ns()}").touch()
    if seed == 1:
        msg = "no luck"
        raise RuntimeError(msg)
    scores = np.arange(seed, dtype=np.float32)
    return [{"part": part, "image_AUROC": seed / 10, "scores": scores} for part in ("", "M1")]


def _cells(*seeds: int, calls: Path | None = None, **settings: object) -> list[Cell]:
    return [
        Cell({"data": "solar", "seed": seed, **settings}, f"solar/RD, a b/{seed}", partial(_compute, seed, calls))
        for seed in seeds
    ]


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """A folder for a file of each call."""
    folder = tmp_path / "calls"
    folder.mkdir()
    return folder


def test_record_says_what_was_measured(tmp_path: Path) -> None:
    file = tmp_path / "suite.parquet"
    rows = grid.run(_cells(3, arguments={"b": 1, "a": [2]}), file, MACHINE)
    pd.testing.assert_frame_equal(rows, pd.read_parquet(file))
    assert rows["part"].tolist() == ["", "M1"]
    first = rows.iloc[0]
    assert first[["data", "seed", "arguments", "image_AUROC", "threads"]].tolist() == [
        "solar",
        3,
        '{"a": [2], "b": 1}',
        0.3,
        1,
    ]
    assert first["scores"].tolist() == [0, 1, 2]
    assert '"torch"' in first["versions"]
    assert {"device", "commit", "date"} <= set(rows)
    assert rows["failure"].isna().all()


def test_record_is_found_by_its_settings(tmp_path: Path, calls: Path) -> None:
    file = tmp_path / "suite.parquet"
    records.write(file, {"seed": 2, "data": "solar"}, [{"image_AUROC": 0.5, "failure": None}])
    # A setting that came later, with the value that stands for what was done before.
    rows = grid.run(_cells(2, 3, calls=calls, turned=None), file, MACHINE)
    assert rows["image_AUROC"].tolist() == [0.5, 0.3, 0.3]
    assert [call.name[0] for call in calls.iterdir()] == ["3"]
    grid.run(_cells(2, calls=calls, turned="black"), file, MACHINE)
    assert len(list(calls.iterdir())) == 2
    grid.run(_cells(2, calls=calls, turned=None), file, MACHINE, retry="all")
    kept = records.read(file)
    assert sorted(zip(kept["seed"], kept["turned"].fillna(""), kept["image_AUROC"], strict=True)) == [
        (2, "", 0.2),
        (2, "", 0.2),
        (2, "black", 0.2),
        (2, "black", 0.2),
        (3, "", 0.3),
        (3, "", 0.3),
    ]


def test_failed_cell_runs_again_when_asked_for(tmp_path: Path, calls: Path) -> None:
    file = tmp_path / "suite.parquet"
    for retry, count in ((None, 2), (None, 2), ("failed", 3), ("all", 5)):
        rows = grid.run(_cells(0, 1, calls=calls), file, MACHINE, retry=retry)
        assert rows["failure"].fillna("").tolist() == ["", "", "RuntimeError: no luck"]
        assert len(list(calls.iterdir())) == count
    assert set(records.done(rows)["seed"]) == {0}


@pytest.mark.slow
def test_several_cells_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "suite.parquet"
    rows = grid.run(_cells(0, 1, 2), file, MACHINE, jobs=2)
    assert rows["seed"].tolist() == [0, 0, 1, 2, 2]
    assert rows["failure"].notna().tolist() == [False, False, True, False, False]


def test_cells_by_name_or_part() -> None:
    cells = [Cell({"name": name}, f"solar/{name}/0", list) for name in ("guided", "unguided", "guided, frozen")]
    assert grid.select(cells, None) == cells
    assert grid.select(cells, ["guided"]) == cells[:1]
    assert grid.select(cells, ["*, frozen", "solar/un*"]) == cells[1:]
    with pytest.raises(ValueError, match=r"--only guide leaves none of 3 cells, such as 'solar/guided/0'\."):
        grid.select(cells, ["guided", "guide"])


def test_figures() -> None:
    assert markdown(["a", "b"], [["x", 1]]) == "| a | b |\n| --- | --- |\n| x | 1 |"
    assert spread([0.5]) == "0.500"
    # Two values are sqrt(2) standard deviations of a sample apart, and two of the whole.
    assert spread([0.5, 0.7]) == "0.600 ± 0.141"
    assert Figure("", 1, 100, deviation=0).show(pd.Series([0.5, None, 0.7])) == "60.0 ± 10.0"
    assert Figure("", 0, sign=",", deviation=None).show(pd.Series([1000, 2000])) == "1,500"


def test_tables() -> None:
    frame = pd.DataFrame(
        {
            "model": ["b", "b", "a", "b", "c"],
            "data": ["x", "x", "x", "y", "y"],
            "AUROC": [0.5, 0.7, 0.9, 0.8, None],
            "PRO": [0.1, 0.1, 0.2, None, None],
        }
    )
    assert table(frame, {"name": "model"}, {"": Figure("AUROC", deviation=None)}, "data").splitlines() == [
        "| name | x | y |",
        "| --- | --- | --- |",
        "| b | 0.600 | 0.800 |",
        "| a | 0.900 |  |",
    ]
    figures = {"AUROC": Figure("AUROC", 1), "PRO": Figure("PRO", 1), "none": Figure("none")}
    assert table(frame, {"data": "data", "name": "model"}, figures).splitlines()[2:] == [
        "| x | b | 0.6 ± 0.1 | 0.1 ± 0.0 |  |",
        "| x | a | 0.9 | 0.2 |  |",
        "| y | b | 0.8 |  |  |",
    ]
    assert table(frame[:0], {"name": "model"}, {"AUROC": Figure("AUROC")}) == markdown(["name", "AUROC"], [])


def test_columns_that_vary() -> None:
    frame = pd.DataFrame({"data": ["solar", "solar"], "seed": [0, 1], "batch": [8, None]})
    assert varied(frame, "data", "seed", "batch", "steps") == {"seed": "seed", "batch": "batch"}
