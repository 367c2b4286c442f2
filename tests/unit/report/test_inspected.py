# SPDX-License-Identifier: Apache-2.0
"""Tables of verdicts, read as they were written."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rd_plugin.inspection.row import COLUMNS

from rd_plugin.inspection import Region, Row
from rd_plugin.report import JudgedImage, illustrate, read_verdicts, report_verdicts

ROWS = [
    Row("parts/good/a, b.png", "anomalous", 0.75),
    Row("parts/goods/c.png", "normal", 0.25),
    Row("parts/d.png", "not judged", reason="it is cut."),
]
IMAGES = [
    JudgedImage("parts/good/a, b.png", 0.75, anomalous=True, defective=False),
    JudgedImage("parts/goods/c.png", 0.25, anomalous=False, defective=True),
    JudgedImage("parts/d.png", defective=True, reason="it is cut."),
]


def lines(kind: str, rows: list[Row]) -> str:
    head = [",".join(COLUMNS)] if kind == "csv" else []
    return "\n".join([*head, *(getattr(row, kind)() for row in rows)]) + "\n"


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_what_inspect_writes_is_read(kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"verdicts.{kind}"
    file.write_text(lines(kind, ROWS))
    assert read_verdicts(file, good="good") == (IMAGES, None)
    assert {image.defective for image in read_verdicts(file)[0]} == {None}


def test_last_word_on_an_image_counts(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.jsonl"
    file.write_text(lines("json", [*ROWS, Row("parts/d.png", "normal", 0.4)]))
    images, _ = read_verdicts(file)
    assert [(image.path, image.score) for image in images][2:] == [("parts/d.png", 0.4)]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.jsonl", '{"path": "a", "verdict": "normal", "score": 0.1}\n{"pa', 2),
        ("a.jsonl", "[1]", 1),
        ("a.jsonl", '{"path": "a", "verdict": "fine"}', 1),
        ("a.csv", "path,verdict,score\na,normal,high\n", 2),
        ("a.csv", "file,label\na,normal\n", 2),
    ],
)
def test_other_files_are_refused_by_line(tmp_path: Path, name: str, content: str, line: int) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{name}', line {line}: no verdict"):
        read_verdicts(tmp_path / name)


def test_pictures_of_files_that_are_still_there(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "parts" / "d.png")
    (tmp_path / "parts" / "e.png").write_text("no image")
    images = [JudgedImage("parts/e.png", 0.1), JudgedImage("parts/d.png", 0.2), JudgedImage("parts/f.png", 0.3)]
    shown = list(illustrate(images, tmp_path))
    assert [image.path for image in shown] == [image.path for image in images]
    assert [image.picture is not None for image in shown] == [False, True, False]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_regions_are_where_they_are_in_the_image(kind: str, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    file = tmp_path / f"verdicts.{kind}"
    file.write_text(lines(kind, [Row("a.png", "anomalous", 0.75, 0.5, (Region(10, 6, 4, 3, 9, 0.9),))]))
    (image,) = illustrate(read_verdicts(file)[0], tmp_path)
    assert image.boxes == ((0.25, 0.2, 0.1, 0.1),)


@pytest.mark.parametrize(
    ("drift", "expected"),
    [
        (["", "no", "yes"], ["not like those that the model was trained on: so it was said for 1 of 3, first with "]),
        (["", "no", "no"], ["like those that the model was trained on, as far as was known by 2 of them."]),
        (["", "", ""], []),
    ],
)
def test_report_says_what_rows_say_of_drift(drift: list[str], expected: list[str], tmp_path: Path) -> None:
    rows = [replace(row, drift=word) for row, word in zip(ROWS, drift, strict=True)]
    (tmp_path / "verdicts.csv").write_text(lines("csv", rows))
    assert report_verdicts(tmp_path / "verdicts.csv", tmp_path / "report.html") == 3
    page = (tmp_path / "report.html").read_text()
    assert (
        re.findall(r'<section id="drift">\s*<h2>Drift</h2>\s*<p>Images are (.*?)(?:parts/d.png.)?</p>', page)
        == expected
    )
