# SPDX-License-Identifier: Apache-2.0
"""What is done about problems in the data."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from rd_plugin.data.check import Problem, act_on, memory_file
from rd_plugin.data.check.actions import listing

ERRORS = [Problem(f"{index}.png", "is empty.") for index in range(25)]


def test_listing_is_a_table_of_at_most_twenty() -> None:
    first, line, *rows = listing(ERRORS).splitlines()
    assert first == "  file or set | finding"
    assert set(line) == set(" -+")
    assert rows[0] == "  0.png       | is empty."
    assert rows[-1] == "  ... and 5 more"
    assert len(rows) == 21


def test_notes_never_stop(caplog: pytest.LogCaptureFixture) -> None:
    act_on([Problem("train", "has twins.", "note")], "error", {})
    assert "Data check: 1 note." in caplog.text


def test_errors_stop_or_are_listed(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="Data check: 25 problems in the data"):
        act_on(ERRORS, "error", {})
    act_on(ERRORS, "warn", {})
    assert "Data check: 25 problems in the data" in caplog.text


@pytest.mark.parametrize(("folder", "expected"), [("run/v3", "run"), ("run", "run"), ("run/v3a", "run/v3a")])
def test_memory_is_beside_the_versions_of_a_run(folder: str, expected: str) -> None:
    assert memory_file(SimpleNamespace(default_root_dir=folder)) == Path(expected) / "data_check.json"
