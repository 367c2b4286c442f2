# SPDX-License-Identifier: Apache-2.0
"""Files of results: what is written is read, and what else is there is refused."""

from pathlib import Path
from typing import Literal

import pytest

from rd_plugin.results import COLUMNS, InspectionResult, Region, ResultFile, read_results

KINDS: tuple[Literal["csv", "jsonl"], ...] = ("csv", "jsonl")
RESULTS = [
    InspectionResult("a, b.png", "anomalous", 0.75, 0.5, (Region(1, 2, 3, 4, 5, None),), drift="yes"),
    InspectionResult("c.png", "error", threshold=0.5, reason="it is cut."),
]


def write(path: Path, kind: Literal["csv", "jsonl"], resumed: bool = False) -> bytes:
    file = ResultFile(path, kind, resumed)
    for result in RESULTS:
        file.write(result)
    file.close()
    return path.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read(kind: Literal["csv", "jsonl"], tmp_path: Path) -> None:
    path = tmp_path / f"results.{kind}"
    content = write(path, kind)
    found = read_results(path)
    assert (found.columns, found.results) == (COLUMNS, RESULTS)
    assert [content[end - 1 : end] for end in found.ends] == [b"\n" if kind == "csv" else b"", b"\n", b"\n"]
    assert found.ends[-1] == len(content)
    write(path, kind, resumed=True)
    assert read_results(path).results == 2 * RESULTS


def test_columns_of_earlier_versions_and_of_other_programs(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'score,path,verdict,mine\r\n0.5,"a, b.png",not judged,1\r\n')
    assert read_results(tmp_path / "a.csv").results == [InspectionResult("a, b.png", "error", 0.5)]
    (tmp_path / "a.jsonl").write_text('\n{"path": "a", "verdict": "normal", "mine": 1}')
    assert read_results(tmp_path / "a.jsonl").results == [InspectionResult("a", "normal")]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.jsonl", '{"path": "a", "verdict": "normal", "score": 0.1}\n{"pa\n', 2),
        ("a.jsonl", "[1]\n", 1),
        ("a.jsonl", f"{'[' * 100_000}\n", 1),
        ("a.csv", "path,verdict,score\na,normal,high\n", 2),
        ("a.csv", "path,verdict,score\na,normal\n", 2),
        ("a.csv", "file,label\na,normal\n", 2),
        ("a.csv", "path,verdict\n\xff\n", 2),
    ],
)
def test_other_files_are_refused_by_line(tmp_path: Path, name: str, content: str, line: int) -> None:
    (tmp_path / name).write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match=rf"{name}', line {line}: "):
        read_results(tmp_path / name)


def test_results_of_another_run_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"csv '.*results.csv' exists already; give another name"):
        ResultFile(path, "csv")
    assert path.read_text() == "mine"
    with pytest.raises(OSError, match=r"jsonl '.*none/results.jsonl' cannot be written"):
        ResultFile(tmp_path / "none" / "results.jsonl", "jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_names_the_file() -> None:
    file = ResultFile(Path("/dev/full"), "jsonl", resumed=True)
    with pytest.raises(OSError, match="/dev/full"):
        file.write(RESULTS[0])
    with pytest.raises(OSError, match="/dev/full"):
        file.close()
