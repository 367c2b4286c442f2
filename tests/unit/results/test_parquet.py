# SPDX-License-Identifier: Apache-2.0
"""Folders of results as Parquet files."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from rd_plugin.results import InspectionResult, Region, parquet

pa = pytest.importorskip("pyarrow")

BOX = Region(1, 2, 3, 4, 5, 0.9, 0.5, 1.25, 2.5, 4.0, 3.0, ignored=True)
RESULTS = [
    InspectionResult("größe.png", "anomalous", 0.75, 0.5, (BOX, Region(1, 2, 3, 4, 5, None)), 1.5, "m", "why", "no"),
    InspectionResult("b.png", "error", threshold=0.5, model="m", reason="cut.", part_id="7", product="p"),
    InspectionResult(
        "c.png", "normal", 0.123457, 0.5, model="m", aligned="yes", correlation=0.9, shift_x=1.5, shift_y=-2.0
    ),
]


def _write(place: Path, results: list[InspectionResult], begin: int = 0) -> None:
    folder = parquet.ParquetFolder(str(place), begin)
    for result in results:
        folder.write(result)
    folder.close()


def _read(place: Path) -> list[InspectionResult]:
    return [result for table in parquet.in_order(str(place)) for result in parquet.results_of(table)]


def test_results_come_back_in_order_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_AT_A_TIME", 2)
    first = InspectionResult("d.png", "normal", 0.1, time="2026-11-29T12:00:00.123+02:00")
    _write(tmp_path, RESULTS, begin=1)
    _write(tmp_path, [first])
    found = _read(tmp_path)
    assert found[1:] == RESULTS
    assert datetime.fromisoformat(found[0].time) == datetime.fromisoformat(first.time)
    assert replace(found[0], time=first.time) == first


def test_rows_are_in_files_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_ROWS", 2)
    folder = parquet.ParquetFolder(str(tmp_path))
    for index, count in enumerate((0, 1, 1), 1):
        folder.write(RESULTS[index - 1])
        assert len(list(tmp_path.glob("*.parquet"))) == count
    folder.close()
    folder.close()
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_killed_run_leaves_is_removed_or_kept(tmp_path: Path) -> None:
    place = str(tmp_path)
    _write(tmp_path, RESULTS)
    (file,) = tmp_path.iterdir()
    (tmp_path / "cut.parquet").write_bytes(file.read_bytes()[:100])
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileExistsError, match="holds results already"):
        parquet.prepare_folder(place)
    parquet.prepare_folder(place, resumed=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([file.name, "notes.txt"])
    assert parquet.done_paths(place, {"m"}) == {"größe.png", "b.png", "c.png"}
    with pytest.raises(ValueError, match="was made with model 'm', but this model is 'n'"):
        parquet.done_paths(place, {"n"})
    parquet.prepare_folder(place, replaced=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert (_read(tmp_path), parquet.done_paths(place, {"m"})) == ([], set())
    with pytest.raises(OSError, match="must be a folder, and is a file"):
        parquet.prepare_folder(str(tmp_path / "notes.txt"))


def test_files_that_a_killed_run_writes_late_are_removed(tmp_path: Path) -> None:
    place = str(tmp_path)
    _write(tmp_path, RESULTS[:1])
    kept = parquet.prepare_folder(place, resumed=True)
    _write(tmp_path, RESULTS[1:2], begin=1)
    assert parquet.done_paths(place, {"m"}, kept) == {"größe.png"}
    late = [path for path in tmp_path.iterdir() if str(path) not in kept]
    (tmp_path / "run-1.parquet").write_bytes(late[0].read_bytes())
    parquet.remove_strays(place, kept, "run-")
    assert sorted(map(str, tmp_path.iterdir())) == sorted([*kept, str(tmp_path / "run-1.parquet")])


def test_names_that_are_no_text(tmp_path: Path) -> None:
    _write(tmp_path, [InspectionResult("b\udcfc.png", "normal", 0.5)])
    assert _read(tmp_path)[0].path == "b\\udcfc.png"


def test_an_address_takes_a_folder(memory: object) -> None:
    del memory
    parquet.prepare_folder("memory://bucket/out")
    folder = parquet.ParquetFolder("memory://bucket/out")
    folder.write(RESULTS[0])
    folder.close()
    (table,) = parquet.in_order("memory://bucket/out")
    assert list(parquet.results_of(table)) == RESULTS[:1]


def test_columns_have_types() -> None:
    table = parquet.to_table(RESULTS, [0, 1, 2], [np.arange(15.0), None, None])
    types = {field.name: str(field.type) for field in table.schema}
    assert types["score"] == "double"
    assert types["time"] == "timestamp[ms, tz=UTC]"
    assert types["boxes"].startswith("list<")
    assert "struct<x: int32" in types["boxes"]
    assert table["statistics"].to_pylist() == [list(range(15)), None, None]
