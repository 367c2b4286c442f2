# SPDX-License-Identifier: Apache-2.0
"""Rows as text, and back."""

import pytest

from rd_plugin.inspection import Region, Row

ROWS = (
    Row('a,"b".png', "anomalous", 0.75, 0.5, (Region(1, 2, 3, 4, 5, 0.9), Region(0, 0, 1, 1, 1, None)), 7.5, "0a1b"),
    Row("größe.png", "normal", 0.25, 0.3, (), 0.0),
    Row("gone.png", "not judged", threshold=0.5, reason="the file does not exist."),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.verdict)
def test_what_is_written_can_be_read(row: Row) -> None:
    assert Row.from_csv(row.csv()) == row
    assert Row.from_json(row.json()) == row


def test_a_line_is_a_line() -> None:
    row = Row("a.png: normal\r\nb\x1b[2K.png", "normal", 0.5)
    for line in (row.text(), row.csv(), row.json()):
        assert line.isprintable()
    assert Row.from_json(row.json()) == row


def test_lines_that_are_no_rows() -> None:
    for line in ("", "a,b", ",".join("abcdefgh")):
        with pytest.raises(ValueError, match=r"."):
            Row.from_csv(line)
    for line in ("", "{}", "[]", '{"path": 1', '{"path": "a", "verdict": "normal", "boxes": [{"x": 1}]}'):
        with pytest.raises(ValueError, match=r"."):
            Row.from_json(line)
