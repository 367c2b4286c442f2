# SPDX-License-Identifier: Apache-2.0
"""Deliver results to another program, in their order, each at least once."""

import hashlib
import logging
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Protocol

from rd_plugin.results import InspectionResult

from .spool import Spool

__all__ = ["Deliverer", "RefusedError", "Target"]

logger = logging.getLogger(__name__)

# Pause after a failure, in seconds; it is doubled after each.
_SHORTEST, _LONGEST = 0.5, 30.0
_BATCH = 50


class RefusedError(Exception):
    """A target will never accept a row."""


class Target(Protocol):
    """A program that receives rows."""

    name: str

    def send(self, row: str) -> None:
        """Send a row; return when it has been accepted.

        Raises:
            OSError: If it has not, but may later.
            RefusedError: If it will never be.
        """

    def close(self) -> None:
        """Disconnect."""


class Deliverer:
    """A sink whose results are kept on disk, and sent to a target from there by a separate thread.

    A row leaves the disk when the target has accepted it. A program that is killed in between sends it again when it is
    started the next time, with the rows that it has not sent. A row that the target refuses stays on disk, too, but the
    rows behind it do not wait for it.

    Args:
        target: Where rows are sent.
        folder: Where they are kept; the same one in the next run.
        limit: Maximum number of rows that are kept. If more wait, the oldest are lost, which is logged.
        patience: How long `close` waits for the target to accept what is left, in seconds.

    Attributes:
        name: The target's.
        spool: The rows that have not been delivered.
        refused: Number of rows that the target has refused in this run.

    Raises:
        OSError: If the folder cannot be used, or another program delivers from it to the same target.
    """

    def __init__(self, target: Target, folder: Path, limit: int = 100_000, patience: float = 5.0) -> None:
        self._target = target
        self.name = target.name
        self._limit = limit
        self._patience = patience
        digest = hashlib.sha256(self.name.encode()).hexdigest()[:12]
        self.spool = Spool(folder / f"{digest}.sqlite", limit)
        if left := len(self.spool):
            logger.info("%s: %d rows are left of an earlier run.", self.name, left)
        self.refused = 0
        self._told_lost = self._told_refused = 0
        self._last = 0  # number of the last row that was accepted or refused
        self._new = Event()
        self._closing = Event()
        self._give_up = Event()
        self._thread = Thread(target=self._deliver, name="deliver", daemon=True)
        self._new.set()
        self._thread.start()

    def write(self, result: InspectionResult) -> None:
        """Take a result; may be called from several threads.

        Raises:
            OSError: If it cannot be written to the disk.
        """
        self.spool.put(result.json())
        # At the first row, and again whenever ten times as many are lost.
        if self.spool.lost > 10 * self._told_lost:
            self._told_lost = self.spool.lost
            logger.warning(
                "%s: more than %d rows wait; the oldest are lost (%d so far).",
                self.name,
                self._limit,
                self.spool.lost,
            )
        self._new.set()

    def close(self) -> None:
        """Deliver what is left, as far as the target accepts it soon, and keep the rest for the next run."""
        self._closing.set()
        self._new.set()
        self._thread.join(self._patience)
        self._give_up.set()
        self._thread.join()
        if left := len(self.spool):
            refused = f" ({self.refused} were refused)" if self.refused else ""
            logger.warning("%s: %d rows are not delivered%s; the next run will send them.", self.name, left, refused)
        self.spool.close()

    def _deliver(self) -> None:
        pause = _SHORTEST
        away_since: float | None = None
        while not self._give_up.is_set():
            self._new.clear()
            try:
                if not self._send_some():
                    if self._closing.is_set():
                        break
                    self._new.wait()
                    continue
            except OSError as error:
                if away_since is None:
                    away_since = monotonic()
                    logger.warning("%s: %s. Rows are kept until it is back.", self.name, str(error).rstrip("."))
                self._give_up.wait(pause)
                pause = min(2 * pause, _LONGEST)
                continue
            if away_since is not None:
                logger.info("%s: back after %.0f s.", self.name, monotonic() - away_since)
            pause, away_since = _SHORTEST, None
        self._target.close()

    def _send_some(self) -> int:
        """Send the oldest rows; return how many."""
        rows = self.spool.first(_BATCH, self._last)
        for number, row in rows:
            if self._give_up.is_set():
                break
            try:
                self._target.send(row)
                self.spool.remove(number)
            except RefusedError as error:
                self._set_aside(error)
            self._last = number
        return len(rows)

    def _set_aside(self, error: RefusedError) -> None:
        """Count a row that was refused, and log it as `write` logs lost ones."""
        self.refused += 1
        if self.refused > 10 * self._told_refused:
            self._told_refused = self.refused
            logger.warning(
                "%s: %s. The row is set aside until the next run (%d so far).", self.name, error, self.refused
            )
