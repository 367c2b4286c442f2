# SPDX-License-Identifier: Apache-2.0
"""Results shown on a terminal: standard output and a progress bar."""

import sys
from typing import Protocol

from tqdm import tqdm

from rd_plugin.results import InspectionResult

__all__ = ["Progress", "Sink", "Text"]


class Sink(Protocol):
    """An object that receives results in the order of the images."""

    def write(self, result: InspectionResult) -> None:
        """Receive a result."""

    def close(self) -> None:
        """Finish after the last result."""


class Text:
    """Results as lines for people: verdicts on standard output, errors on standard error.

    Args:
        verdicts: Whether verdicts are shown; standard output may hold the results for other programs.
    """

    def __init__(self, verdicts: bool = True) -> None:
        self._verdicts = verdicts

    def write(self, result: InspectionResult) -> None:
        """Write a result."""
        if result.score is not None and not self._verdicts:
            return
        stream = sys.stdout if result.score is not None else sys.stderr
        # A progress bar on the same terminal is redrawn below the line.
        with tqdm.external_write_mode(stream):
            stream.write(f"{result.text()}\n")
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

    def write(self, result: InspectionResult) -> None:
        """Count a result."""
        del result
        self._bar.update()

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
