# SPDX-License-Identifier: Apache-2.0
"""Where rows go, one after the other: files, standard output, a progress bar."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from .row import COLUMNS, Row, csv_line

__all__ = ["CSVFile", "JSONLines", "Progress", "Sink", "Text"]


class Sink(Protocol):
    """What takes rows in the order of the images."""

    def write(self, row: Row) -> None:
        """Take a row; it holds its picture if pictures were asked for."""

    def close(self) -> None:
        """Take note that there are no more."""


class RowFile:
    """A file with a row a line, each written in one piece and at once: a run that is cut off leaves whole lines.

    Args:
        path: The file; must not be there yet, since it may hold the results of another run, unless it is resumed.
        argument: What the user calls it.
        resumed: Whether to go on at its end.

    Raises:
        OSError: If it is there and not resumed, or cannot be written.
    """

    def __init__(self, path: Path, argument: str, resumed: bool = False) -> None:
        try:
            self._file = path.open("a" if resumed else "x", encoding="utf-8", newline="")
        except FileExistsError as error:
            msg = f"{argument} {str(path)!r} is there already; give another name, remove it, or go on with --resume."
            raise FileExistsError(msg) from error
        except OSError as error:
            msg = f"{argument} {str(path)!r} cannot be written: {error.strerror}."
            raise OSError(msg) from error
        self._path = path

    def put(self, line: str) -> None:
        """Write a line.

        Raises:
            OSError: If it cannot be written.
        """
        with self._named():
            self._file.write(f"{line}\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file.

        Raises:
            OSError: If a line that could not be written cannot be written now, either.
        """
        with self._named():
            self._file.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Let an error say which file it is about."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error


class CSVFile(RowFile):
    """Rows as CSV with a header; takes the arguments of :class:`RowFile`."""

    def __init__(self, path: Path, argument: str = "csv", resumed: bool = False) -> None:
        super().__init__(path, argument, resumed)
        if not self._file.tell():
            self.put(csv_line(list(COLUMNS)))

    def write(self, row: Row) -> None:
        """Write a row."""
        self.put(row.csv())


class JSONLines(RowFile):
    """Rows as JSON, one object a line; takes the arguments of :class:`RowFile`."""

    def __init__(self, path: Path, argument: str = "jsonl", resumed: bool = False) -> None:
        super().__init__(path, argument, resumed)

    def write(self, row: Row) -> None:
        """Write a row."""
        self.put(row.json())


class Text:
    """Rows as lines for people: verdicts on standard output, what was not judged on standard error."""

    def write(self, row: Row) -> None:
        """Write a row."""
        stream = sys.stdout if row.score is not None else sys.stderr
        # A progress bar on the same terminal steps aside.
        with tqdm.external_write_mode(stream):
            stream.write(f"{row.text()}\n")
            stream.flush()

    def close(self) -> None:
        """Leave the streams open."""


class Progress:
    """A bar on standard error with the rate and, where the number of images is known, the time that remains.

    Args:
        total: Number of images, or ``None``.
        shown: Whether it is shown; by default if standard error is a terminal.
    """

    def __init__(self, total: int | None, shown: bool | None = None) -> None:
        disable = None if shown is None else not shown
        self._bar = tqdm(total=total, unit="image", dynamic_ncols=True, smoothing=0.1, disable=disable)

    def write(self, row: Row) -> None:
        """Count a row."""
        del row
        self._bar.update()

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
