# SPDX-License-Identifier: Apache-2.0
"""Which of many results a report shows, and what it counts."""

from pathlib import Path

import pytest

from rd_plugin.report import Selection, report_results, selection
from rd_plugin.results import InspectionResult

from .test_page import data

MANY = [InspectionResult(f"{index:03}.png", "normal", index / 100, 0.4) for index in range(40)]
MANY += [InspectionResult(f"{index:03}.png", "error", reason="it is cut.") for index in range(40, 60)]


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("_ALL", 20), ("_SOME", 5), ("_ERRORS", 3)):
        monkeypatch.setattr(selection, name, count)


def test_few_are_all_shown_and_the_last_result_counts() -> None:
    found = Selection([*MANY[:20], InspectionResult("000.png", "error")])
    assert [result.path for result in found.shown] == [result.path for result in MANY[:20]]
    assert [result.path for result in found.errors] == ["000.png"]
    assert (found.verdicts, found.scores, found.threshold) == ({}, {}, 0.4)


def test_of_many_the_worst_and_a_sample_in_any_order() -> None:
    found, turned = Selection(MANY), Selection(MANY[::-1])
    assert found.shown == turned.shown
    assert [result.path for result in found.shown[:5]] == ["039.png", "038.png", "037.png", "036.png", "035.png"]
    assert 5 < len(found.shown) <= 10
    assert [result.path for result in found.errors] == ["040.png", "041.png", "042.png"]
    assert found.verdicts == {"normal": 40, "error": 20}
    assert found.scores == turned.scores == {index / 100: 1 for index in range(40)}


def test_page_counts_all(tmp_path: Path) -> None:
    assert report_results(Selection(MANY), tmp_path / "report.html") == 60
    page = (tmp_path / "report.html").read_text()
    assert "60 images were inspected: 20 error, 40 normal." in page
    assert "20 findings, the first 3 of them" in page
    assert len(data(page)["rows"]) == len(Selection(MANY).shown)
    assert report_results(MANY[:10], tmp_path / "report.html") == 10
    assert "were inspected:" not in (tmp_path / "report.html").read_text()
