# SPDX-License-Identifier: Apache-2.0
"""Going on where a run was cut off."""

from pathlib import Path

import pytest

from rd_plugin.inspection import Earlier, Source, earlier_results
from rd_plugin.results import InspectionResult, ResultFile

RESULTS = [InspectionResult(f"{index}.png", "normal", 0.25, 0.5, model="0a1b") for index in range(4)] + [
    InspectionResult("line\nbreak.png", "error", model="0a1b", reason="the file is empty.")
]


def write(file: ResultFile, results: list[InspectionResult]) -> None:
    for result in results:
        file.write(result)
    file.close()


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Files of a whole run."""
    table, lines = tmp_path / "results.csv", tmp_path / "results.jsonl"
    write(ResultFile(table, "csv"), RESULTS)
    write(ResultFile(lines, "jsonl"), RESULTS)
    return table, lines


def test_every_place_to_be_cut_off_at(files: tuple[Path, Path]) -> None:
    table, lines = files
    whole = lines.read_bytes()
    for length in range(len(whole)):
        lines.write_bytes(whole[:length])
        results = earlier_results(None, lines, "0a1b").results
        # A line is whole when it has its end.
        assert results == RESULTS[: whole[:length].count(b"\n")]
        assert lines.read_bytes() == b"".join(whole.splitlines(keepends=True)[: len(results)])
        write(ResultFile(lines, "jsonl", resumed=True), RESULTS[len(results) :])
        assert lines.read_bytes() == whole
    whole = table.read_bytes()
    for length in range(len(whole)):
        table.write_bytes(whole[:length])
        results = earlier_results(table, None, "0a1b").results
        assert len(results) == max(0, whole[:length].count(b"\n") - 1)
        write(ResultFile(table, "csv", resumed=True), RESULTS[len(results) :])
        assert table.read_bytes() == whole


def test_what_has_a_result_is_left_out(files: tuple[Path, Path]) -> None:
    for given in (files, (files[0], None), (None, files[1])):
        earlier = earlier_results(*given, "0a1b")
        left = earlier.left_of(map(Source, ("new.png", "2.png", "line\nbreak.png", "none.png")))
        assert [source.path for source in left] == ["new.png", "none.png"]


def test_the_file_that_is_a_result_ahead_is_cut(files: tuple[Path, Path]) -> None:
    table, lines = files
    before = lines.read_bytes().splitlines(keepends=True)
    lines.write_bytes(b"".join(before[:-1]))
    assert earlier_results(table, lines, "0a1b").results == RESULTS[:-1]
    assert len(table.read_bytes().splitlines()) == len(RESULTS)


def test_files_that_cannot_be_resumed_are_kept(files: tuple[Path, Path], tmp_path: Path) -> None:
    table, lines = files
    foreign = tmp_path / "foreign.csv"
    foreign.write_text("name,price\nbolt,3\n")
    text = tmp_path / "text.jsonl"
    text.write_text("no row\n")
    begun = tmp_path / "begun.csv"
    begun.write_text("mine")
    none = tmp_path / "none.jsonl"
    before = {path: path.read_bytes() for path in (table, lines, foreign, text, begun)}
    for arguments, expected in (
        ((None, None, "0a1b"), "resume needs a file of an earlier run: give csv or jsonl"),
        ((table, lines, "other"), "was made with model '0a1b', but this model is 'other'"),
        ((foreign, None, "0a1b"), "csv cannot be resumed: .*foreign.csv', line 2: not a result"),
        ((begun, None, "0a1b"), "it has other columns"),
        ((None, text, "0a1b"), "jsonl cannot be resumed"),
        ((table, none, "0a1b"), "hold 5 and 0 results, not those of one run"),
    ):
        with pytest.raises(ValueError, match=expected):
            earlier_results(*arguments)
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_that_never_began_is_begun(tmp_path: Path) -> None:
    assert earlier_results(tmp_path / "results.csv", tmp_path / "results.jsonl", "0a1b").results == []
    assert "a.png" not in Earlier([])
