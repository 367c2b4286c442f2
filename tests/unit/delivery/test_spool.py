# SPDX-License-Identifier: Apache-2.0
"""Rows on disk."""

import subprocess
import sys
from pathlib import Path

import pytest

from rd_plugin.delivery import Spool


def test_rows_stay_in_order_and_on_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "deep" / "rows.sqlite", 10)
    for index in range(4):
        spool.put(f'{{"path": "ü\\n{index}"}}')
    first = spool.first(2)
    assert [row for _, row in first] == ['{"path": "ü\\n0"}', '{"path": "ü\\n1"}']
    spool.remove(first[0][0])
    spool.remove(first[0][0])
    assert len(spool) == 3
    spool.close()
    again = Spool(tmp_path / "deep" / "rows.sqlite", 10)
    assert (len(again), again.lost) == (3, 0)
    assert again.first(9)[0] == first[1]
    assert again.first(9, after=first[1][0]) == again.first(9)[1:]
    again.put("new")
    # Numbers rise for ever, so that a row that is removed twice is never another one.
    assert again.first(9)[-1][0] > first[1][0] + 2
    again.close()


def test_oldest_rows_are_lost_where_there_are_too_many(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "rows.sqlite", 3)
    for index in range(5):
        spool.put(str(index))
    assert ([row for _, row in spool.first(9)], len(spool), spool.lost) == (["2", "3", "4"], 3, 2)
    spool.close()


KILLED = """
import os, sys
from pathlib import Path
from rd_plugin.delivery import Spool

spool = Spool(Path("rows.sqlite"), 10)
spool.put("kept")
os._exit(9)
"""


def test_row_is_there_after_the_program_is_killed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, check=False, timeout=300)
    spool = Spool(tmp_path / "rows.sqlite", 10)
    assert [row for _, row in spool.first(9)] == ["kept"]
    spool.close()


def test_one_program_at_a_time(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "rows.sqlite", 10)
    with pytest.raises(OSError, match=r"rows.sqlite' cannot be used, or another .* \(database is locked\)"):
        Spool(tmp_path / "rows.sqlite", 10)
    spool.close()
    spool._file.close()
    for act in (lambda: spool.put("a"), lambda: spool.first(1), lambda: spool.remove(1)):
        with pytest.raises(OSError, match=r"rows.sqlite' cannot be used: Cannot operate on a closed database"):
            act()
    (tmp_path / "other.sqlite").write_text("no data base" * 100)
    with pytest.raises(OSError, match="file is not a database"):
        Spool(tmp_path / "other.sqlite", 10)
