# SPDX-License-Identifier: Apache-2.0
"""Verdicts as they are written: a line of text, a row of CSV, an object of JSON."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, TextIO

from rd_plugin.storage import printable

__all__ = ["Row", "row_writers"]


@dataclass(frozen=True)
class Row:
    """What was found of one image.

    Args:
        path: The file, as it was given or found.
        verdict: What the model says; ``"not judged"`` if it cannot.
        score: Anomaly score, in [0, 1] with the threshold at 0.5 unless the model's post-processor does not normalize;
            ``None`` if there is none.
        reason: Why the image was not judged; empty if it was.
    """

    path: str
    verdict: Literal["normal", "anomalous", "not judged"]
    score: float | None = None
    reason: str = ""

    def text(self) -> str:
        """Return the row as a line for people."""
        found = self.reason if self.score is None else f"{self.verdict}, score {self.score:.3f}"
        return printable(f"{self.path}: {found}")

    def csv(self) -> str:
        """Return the row as CSV; without a score that field is empty."""
        values = asdict(self)
        return _csv([printable(value) if isinstance(value, str) else value for value in values.values()])

    def json(self) -> str:
        """Return the row as JSON, in ASCII: the path can be told exactly from its escapes."""
        return json.dumps(asdict(self))


def _csv(values: list) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


def _open_new(path: Path, argument: str) -> TextIO:
    """Open a file that is not there yet: it may hold the results of another run.

    Raises:
        OSError: If it is there, or cannot be made.
    """
    try:
        return path.open("x", encoding="utf-8", newline="")
    except FileExistsError as error:
        msg = f"{argument} {str(path)!r} is there already; give another name, or remove it."
        raise FileExistsError(msg) from error
    except OSError as error:
        msg = f"{argument} {str(path)!r} cannot be written: {error.strerror}."
        raise OSError(msg) from error


@contextmanager
def row_writers(csv_file: Path | None, jsonl_file: Path | None) -> Iterator[Callable[[Row], None]]:
    """Open what is asked for, and give a function that writes a row to all of it.

    A row is written in one piece and at once, so that a run that is cut off leaves whole lines.

    Args:
        csv_file: File for CSV with a header, or ``None``.
        jsonl_file: File for JSON, one object a line, or ``None``.

    Yields:
        The function; it also writes to standard output, and what was not judged to standard error.

    Raises:
        FileExistsError: If a file is there already.
        OSError: If a file cannot be made.
    """
    with ExitStack() as stack:
        table = stack.enter_context(_open_new(csv_file, "csv")) if csv_file is not None else None
        lines = stack.enter_context(_open_new(jsonl_file, "jsonl")) if jsonl_file is not None else None

        def put(file: TextIO | None, line: str) -> None:
            if file is not None:
                file.write(f"{line}\n")
                file.flush()

        def write(row: Row) -> None:
            put(table, row.csv())
            put(lines, row.json())
            put(sys.stdout if row.score is not None else sys.stderr, row.text())

        put(table, _csv([field.name for field in fields(Row)]))
        yield write
