# SPDX-License-Identifier: Apache-2.0
"""What was found of one image, and how it is written: as text, CSV and JSON."""

import csv
import io
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import numpy as np

from rd_plugin.storage import printable

from .regions import Region

__all__ = ["COLUMNS", "Picture", "Row"]


@dataclass(frozen=True)
class Picture:
    """What can be drawn of an image.

    Args:
        image: 8-bit RGB pixels of shape ``(H, W, 3)``, in the file's own size.
        anomaly_map: Of shape ``(h, w)``, at the model's scale; ``None`` if it gives none. Where the model's
            pre-processor crops, what it does not see is zero.
        mask: Booleans of the same shape: where the map is beyond the model's pixel threshold; ``None`` likewise.
    """

    image: np.ndarray
    anomaly_map: np.ndarray | None
    mask: np.ndarray | None


@dataclass(frozen=True)
class Row:
    """What was found of one image.

    Args:
        path: The file, as it was given or found.
        verdict: What the model says; ``"not judged"`` if it cannot.
        score: Anomaly score, in [0, 1] unless the model's post-processor does not normalize; ``None`` if there is none.
        threshold: Score beyond which the model calls an image anomalous.
        boxes: The regions that the model marks, in the file's own pixels.
        milliseconds: How long reading and judging took; ``None`` if it was not judged.
        model: Name of the model by its record; empty if it has none.
        reason: Why the image was not judged; empty if it was.
        drift: Whether the images judged by then are unlike those that the model was trained on; empty if that is not
            known, or not yet.
        picture: What can be drawn of it, if that was asked for; it is not written.
        statistics: What drift is told by, until it was; it is not written.
    """

    path: str
    verdict: Literal["normal", "anomalous", "not judged"]
    score: float | None = None
    threshold: float | None = None
    boxes: tuple[Region, ...] = ()
    milliseconds: float | None = None
    model: str = ""
    reason: str = ""
    drift: Literal["", "yes", "no"] = ""
    picture: Picture | None = field(default=None, compare=False, repr=False)
    statistics: np.ndarray | None = field(default=None, compare=False, repr=False)

    def text(self) -> str:
        """Return the row as a line for people."""
        found = self.reason if self.score is None else f"{self.verdict}, score {self.score:.3f}"
        return printable(f"{self.path}: {found}")

    def csv(self) -> str:
        """Return the row as CSV: boxes as JSON, nothing for ``None``, control characters escaped."""
        values = self._plain()
        values["boxes"] = json.dumps(values["boxes"])
        return csv_line([printable(value) if isinstance(value, str) else value for value in values.values()])

    def json(self) -> str:
        """Return the row as JSON, in ASCII: the path can be told exactly from its escapes."""
        return json.dumps(self._plain())

    def _plain(self) -> dict[str, Any]:
        return {name: _plain(getattr(self, name)) for name in COLUMNS}

    @classmethod
    def from_csv(cls, line: str) -> "Row":
        """Return the row that a line of CSV tells of; its text stays escaped.

        Raises:
            ValueError: If the line is none.
        """
        values = dict(zip(COLUMNS, next(csv.reader([line])), strict=True))
        numbers = {name: float(values[name]) if values[name] else None for name in _NUMBERS}
        return cls._of({**values, **numbers, "boxes": json.loads(values["boxes"])})

    @classmethod
    def from_json(cls, line: str) -> "Row":
        """Return the row that a line of JSON tells of.

        Raises:
            ValueError: If the line is none.
        """
        return cls._of(json.loads(line))

    @classmethod
    def _of(cls, values: Any) -> "Row":
        try:
            return cls(**{**values, "boxes": tuple(Region(**box) for box in values["boxes"])})
        except (KeyError, TypeError) as error:
            msg = f"no row of rd-plugin inspect ({error})."
            raise ValueError(msg) from error


COLUMNS = tuple(entry.name for entry in fields(Row) if entry.name not in {"picture", "statistics"})
_NUMBERS = ("score", "threshold", "milliseconds")


def _plain(value: Any) -> Any:
    return [asdict(region) for region in value] if isinstance(value, tuple) else value


def csv_line(values: list) -> str:
    """Return values as a line of CSV, without its end."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()
