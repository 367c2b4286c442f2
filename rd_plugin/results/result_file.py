# SPDX-License-Identifier: Apache-2.0
"""Files of results, CSV or JSON lines: one writer and one reader."""

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .result import COLUMNS, InspectionResult, csv_line

__all__ = ["ReadResults", "ResultFile", "is_standard_output", "is_stream", "read_results"]

Kind = Literal["csv", "jsonl"]

_STANDARD_OUTPUT = ("-", "/dev/stdout")


def is_standard_output(path: Path) -> bool:
    """Whether a path stands for standard output: ``-``, as in other programs, or ``/dev/stdout``."""
    return str(path) in _STANDARD_OUTPUT


def is_stream(path: Path) -> bool:
    """Whether a path is written to without an end, as standard output, a named pipe or a device is."""
    return is_standard_output(path) or (path.exists() and not path.is_file() and not path.is_dir())


class ResultFile:
    """A file with one result a line, each written at once in one piece, so that a killed run leaves complete lines.

    Args:
        path: The file, or a stream, see :func:`is_stream`. A file must not exist unless it is resumed or overwritten,
            since it may hold the results of another run.
        kind: ``"csv"``, with a header, or ``"jsonl"``, one object a line.
        resumed: Whether to continue at its end.
        overwritten: Whether to replace it.

    Raises:
        OSError: If it exists and is neither resumed nor overwritten, or cannot be written.
    """

    def __init__(self, path: Path, kind: Kind, resumed: bool = False, overwritten: bool = False) -> None:
        standard = is_standard_output(path)
        mode = "a" if resumed else "w" if overwritten or is_stream(path) else "x"
        try:
            # Standard output is written in UTF-8, whatever its own encoding is, and stays open.
            self._file = open(  # noqa: SIM115
                sys.stdout.fileno() if standard else path, mode, encoding="utf-8", newline="", closefd=not standard
            )
        except FileExistsError as error:
            msg = (
                f"{kind} {str(path)!r} exists already; give another name, remove it, replace it with --overwrite, or "
                "continue it with --resume."
            )
            raise FileExistsError(msg) from error
        except OSError as error:
            msg = f"{kind} {str(path)!r} cannot be written: {error.strerror}."
            raise OSError(msg) from error
        self._path = path
        self._kind = kind
        if kind == "csv" and not (resumed and self._file.tell()):
            self._put(csv_line(COLUMNS))

    def write(self, result: InspectionResult) -> None:
        """Write a result.

        Raises:
            OSError: If it cannot be written.
        """
        self._put(result.csv() if self._kind == "csv" else result.json())

    def close(self) -> None:
        """Close the file.

        Raises:
            OSError: If a buffered line cannot be written.
        """
        with self._named():
            self._file.close()

    def _put(self, line: str) -> None:
        with self._named():
            self._file.write(f"{line}\n")
            self._file.flush()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Let an error name the file."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error


@dataclass(frozen=True)
class ReadResults:
    """The content of a file of results.

    Args:
        columns: The header of a CSV file, ``COLUMNS`` of other files.
        results: The results in the file's order.
        ends: Positions in bytes of the ends of the header and of each result with a complete line.
    """

    columns: tuple[str, ...] = COLUMNS
    results: list[InspectionResult] = field(default_factory=list)
    ends: list[int] = field(default_factory=lambda: [0])


def read_results(path: str | Path, kind: Kind | None = None) -> ReadResults:
    """Read a file of ``rd-plugin inspect``, of this version or an earlier one.

    A killed run may leave half a line at the end, which is ignored.

    Args:
        path: The file.
        kind: Its kind; by default ``"csv"`` if its name ends in ``.csv``, otherwise ``"jsonl"``.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it holds something else; the message names the line.

    Example:
        >>> file = getfixture("tmp_path") / "results.jsonl"
        >>> _ = file.write_text('{"path": "a.png", "verdict": "anomalous", "score": 0.7}')
        >>> [(result.path, result.score) for result in read_results(file).results]
        [('a.png', 0.7)]
    """
    path = Path(path)
    columns: tuple[str, ...] | None = None if (kind or path.suffix.lower()[1:]) == "csv" else COLUMNS
    as_csv = columns is None
    results, ends, position = list[InspectionResult](), [0], 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            whole = line.endswith(b"\n")
            position += len(line)
            try:
                text = line.decode().rstrip("\r\n")
                if columns is None:
                    columns = tuple(next(csv.reader([text]), ()))
                    ends = [position if whole else 0]
                elif text:
                    row = dict(zip(columns, next(csv.reader([text])), strict=True)) if as_csv else json.loads(text)
                    results.append(InspectionResult.of(row))
                    ends += [position] if whole else []
            except (ValueError, RecursionError) as error:
                if not whole:
                    break
                msg = f"{str(path)!r}, line {number}: {error}."
                raise ValueError(msg) from error
    return ReadResults(columns or (), results, ends)
