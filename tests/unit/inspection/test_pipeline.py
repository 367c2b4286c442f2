# SPDX-License-Identifier: Apache-2.0
"""Work in several threads: order, bounds, faults and stops."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier, Event, active_count
from time import sleep

import pytest

from rd_plugin.inspection.pipeline import in_order

from ...waiting import wait_until


def test_order_is_kept_though_later_ones_are_done_first() -> None:
    later = Event()

    def work(number: int) -> int:
        if number == 0:
            assert later.wait(10)
        if number == 1:
            later.set()
        return number

    assert list(in_order(work, range(20), workers=2)) == list(range(20))


def test_several_at_a_time() -> None:
    together = Barrier(3)
    assert sum(in_order(lambda _: together.wait(10) >= 0, range(9), workers=3)) == 9


def test_no_more_is_taken_than_is_bounded() -> None:
    taken = 0

    def source() -> Iterator[int]:
        nonlocal taken
        for number in count():
            taken += 1
            yield number

    results = in_order(abs, source(), workers=2)
    for given in range(1, 50):
        next(results)
        # Those that wait, those that wait to wait, and those that are given.
        assert taken <= given + 2 * 2 + 2
    results.close()


def test_an_item_is_read_when_a_thread_is_free_for_it() -> None:
    read, go = [], Event()

    def source() -> Iterator[int]:
        for number in range(4):
            read.append(number)
            yield number

    def work(number: int) -> int:
        assert go.wait(10)
        return number

    results = in_order(work, source(), workers=2)
    with ThreadPoolExecutor(1) as other:
        first = other.submit(next, results)
        wait_until(lambda: len(read) == 2)
        sleep(0.2)
        assert read == [0, 1]
        go.set()
        assert [first.result(), *results] == [0, 1, 2, 3]


def test_a_result_does_not_wait_for_the_next_item() -> None:
    given = Event()

    def source() -> Iterator[int]:
        yield 1
        assert given.wait(10)
        yield 2

    results = in_order(abs, source(), workers=1)
    assert next(results) == 1
    given.set()
    assert list(results) == [2]


def test_faults_of_source_and_work_are_raised_in_their_place() -> None:
    def source() -> Iterator[int]:
        yield 1
        msg = "source"
        raise OSError(msg)

    results = in_order(abs, source(), workers=2)
    assert next(results) == 1
    with pytest.raises(OSError, match="source"):
        next(results)
    results = in_order(lambda number: 1 // number, [1, 0, 1], workers=2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_stop_lets_what_was_taken_be_done_and_leaves_no_thread() -> None:
    stop, threads = Event(), active_count()

    def source() -> Iterator[int]:
        for number in count():
            if number == 5:
                stop.set()
            yield number

    assert list(in_order(abs, source(), workers=2, stop=stop)) == list(range(5))
    unending = in_order(abs, count(), workers=2)
    next(unending)
    unending.close()
    wait_until(lambda: active_count() <= threads)
