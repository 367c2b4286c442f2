# SPDX-License-Identifier: Apache-2.0
"""Rows that have not been delivered yet, on disk."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

__all__ = ["Spool"]


class Spool:
    """A bounded queue of rows in a file, which survives a crash of the program or of the computer.

    Its methods may be called from several threads; only one program at a time may use the file.

    Args:
        path: The file (SQLite); it is made with its folder if necessary.
        limit: Maximum number of rows. If one more is put in, the oldest is lost.

    Attributes:
        lost: Number of rows that were lost since the spool was opened.

    Raises:
        OSError: If the file cannot be used, or another program uses it.

    Example:
        >>> spool = Spool(getfixture("tmp_path") / "rows.sqlite", limit=2)
        >>> for row in ("a", "b", "c"):
        ...     spool.put(row)
        >>> [row for _, row in spool.first(10)], spool.lost
        (['b', 'c'], 1)
        >>> spool.close()
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._lock = Lock()
        self.lost = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
            self._file.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._file.execute("PRAGMA journal_mode = WAL")
            # Each row is on the disk when `put` returns.
            self._file.execute("PRAGMA synchronous = FULL")
            self._file.execute("CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY AUTOINCREMENT, row TEXT)")
            # Takes the lock, which it keeps.
            self._file.execute("BEGIN IMMEDIATE")
            self._file.execute("COMMIT")
            (self._count,) = self._file.execute("SELECT count(*) FROM rows").fetchone()
        except sqlite3.Error as error:
            msg = f"spool {str(path)!r} cannot be used, or another program uses it ({error})."
            raise OSError(msg) from error

    def __len__(self) -> int:
        """Number of rows."""
        return self._count

    def put(self, row: str) -> None:
        """Add a row; drop the oldest if there are too many.

        Args:
            row: The row.

        Raises:
            OSError: If it cannot be written, such as on a full disk.
        """
        with self._opened() as file:
            file.execute("INSERT INTO rows (row) VALUES (?)", (row,))
            self._count += 1
            if self._count > self._limit:
                file.execute("DELETE FROM rows WHERE number = (SELECT min(number) FROM rows)")
                self._count -= 1
                self.lost += 1

    def first(self, count: int, after: int = 0) -> list[tuple[int, str]]:
        """Return the oldest rows with their numbers, which rise.

        Args:
            count: Maximum number of rows.
            after: Only rows with a greater number.

        Raises:
            OSError: If they cannot be read.
        """
        query = "SELECT number, row FROM rows WHERE number > ? ORDER BY number LIMIT ?"
        with self._opened() as file:
            return file.execute(query, (after, count)).fetchall()

    def remove(self, number: int) -> None:
        """Remove a row, if it still exists.

        Args:
            number: Its number.

        Raises:
            OSError: If the file cannot be written, such as on a full disk.
        """
        with self._opened() as file:
            self._count -= file.execute("DELETE FROM rows WHERE number = ?", (number,)).rowcount

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """The file, for one thread."""
        with self._lock:
            try:
                yield self._file
            except sqlite3.Error as error:
                msg = f"spool {str(self._path)!r} cannot be used: {error}."
                raise OSError(msg) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()
