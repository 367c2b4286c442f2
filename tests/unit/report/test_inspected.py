# SPDX-License-Identifier: Apache-2.0
"""Reports of inspected images."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from rd_plugin.report import illustrate, report_results
from rd_plugin.results import AS_A_WHOLE, InspectionResult, Region

from .test_page import data

DIFFER = "The images differ from the training images: 1 of 3 results show it, first parts/d.png."
ALIKE = "The images do not differ from the training images, according to 2 of the results."
RESULTS = [
    InspectionResult("parts/good/a, b.png", "anomalous", 0.75, reason=AS_A_WHOLE, drift="no"),
    InspectionResult("parts/goods/c.png", "normal", 0.25, 0.4),
    InspectionResult("parts/d.png", "error", reason="it is cut."),
]


def report(tmp_path: Path, results: list[InspectionResult], **arguments: object) -> str:
    report_results(results, tmp_path / "report.html", **arguments)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_truth_threshold_and_errors(tmp_path: Path) -> None:
    found = data(page := report(tmp_path, RESULTS, normal="good"))
    assert [row[:4] for row in found["rows"]] == [
        ["parts/good/a, b.png", 0.75, True, False],
        ["parts/goods/c.png", 0.25, False, True],
        ["parts/d.png", None, None, True],
    ]
    assert found["threshold"] == 0.4
    assert "1 finding." in page
    unknown = data(report(tmp_path, RESULTS[:1]))
    assert (unknown["rows"][0][3], unknown["threshold"]) == (None, 0.5)


def test_last_result_of_an_image_counts(tmp_path: Path) -> None:
    page = report(tmp_path, [*RESULTS, InspectionResult("parts/d.png", "normal", 0.4)])
    assert [row[:2] for row in data(page)["rows"]][1:] == [["parts/d.png", 0.4], ["parts/goods/c.png", 0.25]]


def test_zero_is_a_threshold(tmp_path: Path) -> None:
    assert data(report(tmp_path, [InspectionResult("a.png", "anomalous", 0.1, 0.0)]))["threshold"] == 0


def test_thumbnails_of_files_that_are_still_there(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "parts" / "d.png")
    (tmp_path / "parts" / "e.png").write_text("no image")
    results = [InspectionResult(f"parts/{name}.png", "normal", 0.1) for name in "edf"]
    assert [(path, small.size) for path, small in illustrate(results, tmp_path).items()] == [("parts/d.png", (40, 30))]


def test_regions_are_where_they_are_in_the_image(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    result = InspectionResult("a.png", "anomalous", 0.75, 0.5, (Region(10, 6, 4, 3, 9, 0.9),))
    assert data(report(tmp_path, [result], folder=tmp_path))["rows"][0][5] == [[0.25, 0.2, 0.1, 0.1, 0]]


@pytest.mark.parametrize(
    ("drift", "expected"), [(["", "no", "yes"], [DIFFER]), (["", "no", "no"], [ALIKE]), (["", "", ""], [])]
)
def test_report_says_what_results_say_of_drift(drift: list[str], expected: list[str], tmp_path: Path) -> None:
    page = report(tmp_path, [replace(result, drift=word) for result, word in zip(RESULTS, drift, strict=True)])
    assert re.findall(r'<section id="drift">\s*<h2>Drift</h2>\s*<p>(.*?)</p>', page) == expected
    assert "This counts." in report(tmp_path, RESULTS, drift="This counts.")
