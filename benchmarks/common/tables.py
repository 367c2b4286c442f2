# SPDX-License-Identifier: Apache-2.0
"""Markdown tables of records."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from .records import Record

__all__ = ["group", "markdown", "plus_minus", "spread", "varied"]


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table with a line for each row."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in (head, *rows)]
    return "\n".join([lines[0], f"|{' --- |' * len(head)}", *lines[1:]])


def plus_minus(mean: float, deviation: float | None, digits: int = 3) -> str:
    """Return a mean with its standard deviation, if there is one."""
    text = f"{mean:.{digits}f}"
    return text if deviation is None else f"{text} ± {deviation:.{digits}f}"


def spread(values: Sequence[float], digits: int = 3, *, percent: bool = False, population: bool = False) -> str:
    """Return mean and, of several values, standard deviation.

    Args:
        values: At least one.
        digits: Behind the point.
        percent: Whether they are shares, to be shown in percent.
        population: Whether the values are all there are, not a sample.
    """
    values = [100 * value for value in values] if percent else values
    deviation = statistics.pstdev if population else statistics.stdev
    return plus_minus(statistics.mean(values), deviation(values) if len(values) > 1 else None, digits)


def group(records: Iterable[Record], *names: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Return the contents of records that have not failed, by some of their settings, in their order."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for record in records:
        if not record.failed:
            groups.setdefault(tuple(record.settings[name] for name in names), []).append(record.content)
    return groups


def varied(records: Iterable[Record], *names: str) -> list[str]:
    """Return those settings that are not the same in all records: tables tell runs apart by them."""
    records = list(records)
    return [name for name in names if len({record.settings[name] for record in records}) > 1]
