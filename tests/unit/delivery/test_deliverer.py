# SPDX-License-Identifier: Apache-2.0
"""Results on their way to a target that is not always there."""

import json
from pathlib import Path

import pytest

from rd_plugin.delivery import Deliverer, deliverer
from rd_plugin.delivery.deliverer import RefusedError
from rd_plugin.results import InspectionResult

from ...waiting import wait_until


class Memory:
    """A target that keeps rows while it is there."""

    name = "memory"

    def __init__(self, there: bool = True, refused: str = "") -> None:
        self.there = there
        self.refused = refused
        self.rows: list[str] = []
        self.closed = False

    def send(self, row: str) -> None:
        if not self.there:
            msg = "not reached (refused)."
            raise OSError(msg)
        path = json.loads(row)["path"]
        if path in self.refused:
            msg = "answered with status 422"
            raise RefusedError(msg)
        self.rows.append(path)

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliverer, "_SHORTEST", 0.01)
    monkeypatch.setattr(deliverer, "_LONGEST", 0.02)


def test_results_arrive_in_order(tmp_path: Path) -> None:
    target = Memory()
    sink = Deliverer(target, tmp_path)
    for index in range(120):
        sink.write(InspectionResult(str(index), "normal"))
    wait_until(lambda: len(target.rows) == 120)
    # Also those that are written when it waits.
    sink.write(InspectionResult("last", "normal"))
    sink.close()
    assert target.rows == [*map(str, range(120)), "last"]
    assert target.closed


def test_rows_wait_while_the_target_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    target = Memory(there=False)
    sink = Deliverer(target, tmp_path)
    for index in range(3):
        sink.write(InspectionResult(str(index), "normal"))
    wait_until(lambda: caplog.messages)
    assert caplog.messages == ["memory: not reached (refused). Rows are kept until it is back."]
    assert len(sink.spool) == 3
    target.there = True
    wait_until(lambda: len(sink.spool) == 0)
    wait_until(lambda: len(caplog.messages) == 2)
    assert caplog.messages[1].startswith("memory: back after ")
    sink.close()
    assert target.rows == ["0", "1", "2"]


def test_next_run_sends_what_is_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    sink = Deliverer(Memory(there=False), tmp_path, patience=0.0)
    sink.write(InspectionResult("a", "normal"))
    sink.close()
    assert caplog.messages[-1] == "memory: 1 rows are not delivered; the next run will send them."
    target = Memory()
    sink = Deliverer(target, tmp_path)
    sink.write(InspectionResult("b", "normal"))
    sink.close()
    assert "memory: 1 rows are left of an earlier run." in caplog.messages
    assert target.rows == ["a", "b"]


def test_rows_that_are_lost_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sink = Deliverer(Memory(there=False), tmp_path, limit=2, patience=0.0)
    for index in range(14):
        sink.write(InspectionResult(str(index), "normal"))
    lost = [message for message in caplog.messages if "lost" in message]
    assert lost == [
        "memory: more than 2 rows wait; the oldest are lost (1 so far).",
        "memory: more than 2 rows wait; the oldest are lost (11 so far).",
    ]
    sink.close()


def test_refused_rows_are_set_aside_and_sent_by_the_next_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    target = Memory(refused="bc")
    sink = Deliverer(target, tmp_path)
    for path in "abcd":
        sink.write(InspectionResult(path, "normal"))
    wait_until(lambda: target.rows == ["a", "d"])
    sink.close()
    assert sink.refused == 2
    assert caplog.messages == [
        "memory: answered with status 422. The row is set aside until the next run (1 so far).",
        "memory: 2 rows are not delivered (2 were refused); the next run will send them.",
    ]
    target = Memory()
    Deliverer(target, tmp_path).close()
    assert target.rows == ["b", "c"]


def test_spool_that_fails_for_a_moment_ends_no_delivery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row whose removal failed is sent again."""
    target = Memory()
    sink = Deliverer(target, tmp_path)
    remove, failures = sink.spool.remove, [OSError("full")]

    def fail_once(number: int) -> None:
        if failures:
            raise failures.pop()
        remove(number)

    monkeypatch.setattr(sink.spool, "remove", fail_once)
    sink.write(InspectionResult("a", "normal"))
    wait_until(lambda: len(sink.spool) == 0)
    sink.close()
    assert target.rows == ["a", "a"]


def test_targets_have_spools_of_their_own(tmp_path: Path) -> None:
    first, other = Memory(), Memory()
    other.name = "other"
    sinks = [Deliverer(target, tmp_path) for target in (first, other)]
    with pytest.raises(OSError, match="another program uses it"):
        Deliverer(first, tmp_path)
    for sink in sinks:
        sink.write(InspectionResult("a", "normal"))
        sink.close()
    assert first.rows == other.rows == ["a"]
