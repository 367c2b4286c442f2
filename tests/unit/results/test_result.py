# SPDX-License-Identifier: Apache-2.0
"""Rows as text, and back."""

import csv
import json

import pytest

from rd_plugin.results import COLUMNS, NOT_REGISTERED, InspectionResult, Region

RESULTS = (
    InspectionResult(
        'a,"b".png', "anomalous", 0.75, 0.5, (Region(1, 2, 3, 4, 5, 0.9), Region(0, 0, 1, 1, 1, None)), 7.5, "0a1b"
    ),
    InspectionResult("größe.png", "normal", 0.25, 0.3, (), 0.0, time="2026-11-29T16:00:00.123+01:00", part_id="SN-7"),
    InspectionResult("moved.png", "normal", 0.25, aligned="yes", correlation=0.9, shift_x=-3.5, shift_y=0.0),
    InspectionResult("gone.png", "error", threshold=0.5, reason="the file does not exist."),
)


def read(result: InspectionResult) -> list[InspectionResult]:
    row = dict(zip(COLUMNS, next(csv.reader([result.csv()])), strict=True))
    return [InspectionResult.of(row), InspectionResult.of(json.loads(result.json()))]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.verdict)
def test_what_is_written_can_be_read(result: InspectionResult) -> None:
    assert read(result) == [result, result]


def test_text_says_what_was_not_registered() -> None:
    assert InspectionResult("a.png", "normal", 0.25, aligned="no").text().endswith(f", {NOT_REGISTERED}")
    assert NOT_REGISTERED not in InspectionResult("a.png", "normal", 0.25, aligned="yes").text()


def test_a_line_is_a_line() -> None:
    result = InspectionResult("a.png: normal\r\nb\x1b[2K.png", "normal", 0.5)
    for line in (result.text(), result.csv(), result.json()):
        assert line.isprintable()
    # JSON tells the path exactly.
    assert read(result)[1] == result


def test_words_and_columns_of_version_0_2() -> None:
    old = {"path": "a.png", "verdict": "not judged", "reason": "it is cut."}
    assert InspectionResult.of(old) == InspectionResult("a.png", "error", reason="it is cut.")


def test_a_score_that_is_not_a_number_is_none() -> None:
    assert InspectionResult.of({"path": "a.png", "verdict": "anomalous", "score": float("nan")}).score is None


@pytest.mark.parametrize(
    "values",
    [
        {},
        [],
        None,
        {"path": "a"},
        {"path": "a", "verdict": "fine"},
        {"path": "a", "verdict": []},
        {"path": "a", "verdict": "normal", "drift": "maybe"},
        {"path": "a", "verdict": "normal", "aligned": "maybe"},
        {"path": "a", "verdict": "normal", "score": "high"},
        {"path": "a", "verdict": "normal", "boxes": [{"x": 1}]},
        {"path": "a", "verdict": "normal", "boxes": "[1]"},
    ],
)
def test_other_values_are_refused(values: object) -> None:
    with pytest.raises(ValueError, match="not a result of rd-plugin inspect"):
        InspectionResult.of(values)
