# SPDX-License-Identifier: Apache-2.0
"""What an earlier run has written, so that another can go on where it was cut off."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rd_plugin.storage import printable

from .row import COLUMNS, Row, csv_line
from .sources import Source

__all__ = ["Earlier", "earlier_rows"]


class Earlier:
    """Rows of an earlier run.

    Args:
        rows: The rows, in their order.
    """

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        # CSV holds paths escaped.
        self._done = {printable(row.path) for row in rows}

    def __contains__(self, path: object) -> bool:
        """Whether a file has a row."""
        return printable(path) in self._done

    def left_of(self, sources: Iterable[Source]) -> Iterator[Source]:
        """Yield the sources that have no row yet."""
        return (source for source in sources if source.path not in self)


def earlier_rows(csv_file: Path | None, jsonl_file: Path | None, model: str) -> Earlier:
    """Read the rows of an earlier run, and make its files end alike, with a whole row.

    A run that is killed may leave half a line, or have written its last row to the first file alone: both are cut off,
    and that image is judged again.

    Args:
        csv_file: Its file of CSV, or ``None``.
        jsonl_file: Its file of JSON lines, or ``None``.
        model: Name of the model that goes on.

    Raises:
        OSError: If a file cannot be read or written.
        ValueError: If a file is not such a run's, was made by another model, or does not go with the other.
    """
    header = [csv_line(list(COLUMNS)).encode()]
    tables = [
        _Table(path, argument, first, read)
        for path, argument, first, read in (
            (csv_file, "csv", header, Row.from_csv),
            (jsonl_file, "jsonl", [], Row.from_json),
        )
        if path is not None
    ]
    if not tables:
        msg = "resume needs the file that is to be gone on with: give csv or jsonl."
        raise ValueError(msg)
    lengths = [len(table.rows) for table in tables]
    count = min(lengths)
    paths = [[printable(row.path) for row in table.rows[:count]] for table in tables]
    if max(lengths) > count + 1 or any(found != paths[0] for found in paths):
        msg = (
            f"csv {str(csv_file)!r} and jsonl {str(jsonl_file)!r} hold {' and '.join(map(str, lengths))} rows, not "
            "those of one run; give the one that is to be gone on with."
        )
        raise ValueError(msg)
    for table in tables:
        if other := next((row.model for row in table.rows if row.model != model), None):
            msg = f"{table.argument} {str(table.path)!r} was made by model {other!r}, this one is {model!r}."
            raise ValueError(msg)
    for table in tables:
        table.cut(count)
    # JSON tells paths exactly.
    return Earlier(tables[-1].rows[:count])


class _Table:
    """A file of rows as it was left.

    Args:
        path: The file.
        argument: What the user calls it.
        header: Lines that it begins with.
        read: Makes a row of a line.
    """

    def __init__(self, path: Path, argument: str, header: list[bytes], read: Callable[[str], Row]) -> None:
        self.path, self.argument = path, argument
        content = path.read_bytes() if path.exists() else b""
        # What stands behind the last line's end is half a line.
        self._lines = content.split(b"\n")[:-1]
        self._header = len(header)
        if self._lines[: len(header)] != header[: len(self._lines)]:
            msg = f"{argument} {str(path)!r} cannot be gone on with: its columns are others."
            raise ValueError(msg)
        try:
            self.rows = [read(line.decode()) for line in self._lines[len(header) :]]
        except ValueError as error:
            msg = f"{argument} {str(path)!r} cannot be gone on with: {error}"
            raise ValueError(msg) from error
        self._length = len(content)

    def cut(self, count: int) -> None:
        """Leave that many rows."""
        length = sum(len(line) + 1 for line in self._lines[: self._header + count])
        if length < self._length:
            with self.path.open("rb+") as file:
                file.truncate(length)
