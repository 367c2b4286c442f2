# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin report``: a page of what ``inspect`` has written."""

from pathlib import Path

import pytest

from rd_plugin.provenance import write_record
from rd_plugin.results import InspectionResult, ParquetFolder

from ..report.test_page import data
from .conftest import Tool

pytestmark = pytest.mark.usefixtures("in_tmp_path")


def test_page_beside_the_results(tool: Tool) -> None:
    results = [InspectionResult("good/a.png", "normal", 0.25), InspectionResult("b.png", "anomalous", 0.75)]
    Path("results.jsonl").write_text("\n".join(result.json() for result in results))
    write_record("model.json", {"method": "MethodOfTheRecord"})
    assert tool("report", "results.jsonl", "--good", "good", "--model", "model.xml").output == (
        "results.html written: 2 images.\n"
    )
    page = Path("results.html").read_text(encoding="utf-8")
    assert [row[:4] for row in data(page)["rows"]] == [["b.png", 0.75, True, True], ["good/a.png", 0.25, False, False]]
    assert "MethodOfTheRecord" in page
    assert tool("report", "results.jsonl", "--output", "other.html").status == 0
    assert [row[3] for row in data(Path("other.html").read_text(encoding="utf-8"))["rows"]] == [None, None]


def test_page_of_a_folder_of_parquet_files(tool: Tool) -> None:
    pytest.importorskip("pyarrow")
    Path("archive").mkdir()
    assert tool("report", "archive").errors.endswith("results 'archive' contains no result of rd-plugin inspect.\n")
    folder = ParquetFolder("archive")
    for path, score in (("good/a.png", 0.25), ("b.png", 0.75)):
        folder.write(InspectionResult(path, "normal", score))
    folder.close()
    assert tool("report", "archive").output == "archive.html written: 2 images.\n"
    assert [row[:2] for row in data(Path("archive.html").read_text())["rows"]] == [
        ["b.png", 0.75],
        ["good/a.png", 0.25],
    ]
    assert tool("report", "archive", "--good", "good").status == 0
    assert [row[3] for row in data(Path("archive.html").read_text())["rows"]] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["wrong.csv"], "line 2: not a result of rd-plugin inspect"),
        (["wrnog.csv"], "is not a file or folder. Did you mean"),
        (["empty.csv"], "contains no result of rd-plugin inspect"),
        (["wrong.csv", "--model", "model.xml"], "model 'model.xml' has no record that can be read: 'model.json'"),
    ],
)
def test_wrong_arguments_end_in_one_sentence(tool: Tool, arguments: list[str], expected: str) -> None:
    Path("wrong.csv").write_text("file\n1\n")
    Path("empty.csv").touch()
    status, _, errors = tool("report", *arguments)
    assert status == 2
    assert expected in errors
    assert not list(Path().glob("*.html"))
