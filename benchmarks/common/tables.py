# SPDX-License-Identifier: Apache-2.0
"""Markdown tables of records: one function draws all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

__all__ = ["Figure", "markdown", "spread", "table", "varied"]


@dataclass(frozen=True)
class Figure:
    """How a column of records is shown.

    Args:
        column: The column.
        digits: Behind the point.
        scale: What values are multiplied by: 100 for shares in percent.
        sign: Format of the sign, ``"+"`` to show it of gains, too; ``","`` to group thousands.
        deviation: Degrees of freedom of the standard deviation of several values: 1 of a sample, 0 of all that there
            are; ``None`` for none.
    """

    column: str
    digits: int = 3
    scale: float = 1
    sign: str = ""
    deviation: int | None = 1

    def show(self, values: pd.Series) -> str:
        """Return mean and standard deviation of numbers, the first of texts, and nothing of nothing."""
        values = values.dropna()
        if not len(values):
            return ""
        if isinstance(values.iloc[0], str):
            return str(values.iloc[0])
        values = self.scale * values.astype(float)
        text = f"{values.mean():{self.sign}.{self.digits}f}"
        if self.deviation is None or len(values) == 1:
            return text
        return f"{text} ± {values.std(ddof=self.deviation):.{self.digits}f}"


def markdown(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """Return a table with a line for each row."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in (head, *rows)]
    return "\n".join([lines[0], f"|{' --- |' * len(head)}", *lines[1:]])


def table(
    frame: pd.DataFrame,
    by: Mapping[str, str],
    figures: Mapping[str, Figure],
    across: str | None = None,
    across_order: Sequence[Any] = (),
) -> str:
    """Return a table of records.

    Args:
        frame: Rows of records, in the order in which they are shown.
        by: Columns that tell the table's rows apart, by their titles. What is the same in them is averaged.
        figures: What is shown, by its title.
        across: A column whose values stand side by side, each with all figures; one figure needs no title.
        across_order: These of its values, in this order; by default all, as they come.
    """
    if frame.empty:
        return markdown([*by, *figures], [])
    names = list(by.values())
    used = dict.fromkeys([*names, *([across] if across else []), *(figure.column for figure in figures.values())])
    frame = frame[[name for name in used if name in frame]]
    values = (list(across_order) or list(frame[across].unique())) if across else [None]
    shown = [
        (", ".join(str(text) for text in (value, title) if text not in (None, "")), value, figure)
        for value in values
        for title, figure in figures.items()
    ]
    rows = []
    for group, part in frame.groupby(names, sort=False, dropna=False):
        cells = []
        for _, value, figure in shown:
            chosen = part if across is None else part[part[across] == value]
            cells.append(figure.show(chosen[figure.column]) if figure.column in chosen else "")
        if any(cells):
            rows.append([*("" if pd.isna(name) else name for name in group), *cells])
    return markdown([*by, *(title for title, _, _ in shown)], rows)


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Return mean and, of several values, standard deviation of a sample."""
    return Figure("", digits).show(pd.Series(values))


def varied(frame: pd.DataFrame, *names: str) -> dict[str, str]:
    """Return those columns that are not the same in all rows, by themselves: tables tell runs apart by them."""
    return {name: name for name in names if name in frame and frame[name].nunique(dropna=False) > 1}
