# SPDX-License-Identifier: Apache-2.0
"""What was found of one image: from a file, from memory or from a test run, as text, CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

import numpy as np

from rd_plugin.storage import printable

__all__ = ["COLUMNS", "InspectionResult", "Picture", "Region", "csv_line"]

Verdict = Literal["normal", "anomalous", "error", ""]
Drift = Literal["", "yes", "no"]

# What is read; version 0.2 wrote "not judged".
_WORDS: dict[str, dict[str, str]] = {
    "verdict": {**{word: word for word in get_args(Verdict)}, "not judged": "error"},
    "drift": {word: word for word in get_args(Drift)},
}
_NUMBERS = ("score", "threshold", "milliseconds")


@dataclass(frozen=True)
class Region:
    """A region that a model marks, in the pixels of the image file.

    Args:
        x: Column of the box's left side.
        y: Row of its upper side.
        width: The box's width.
        height: The box's height.
        area: Pixels of the region itself.
        peak: The anomaly map's greatest value in it; ``None`` without a map.
    """

    x: int
    y: int
    width: int
    height: int
    area: int
    peak: float | None


@dataclass(frozen=True)
class Picture:
    """What can be drawn of an image.

    Args:
        image: 8-bit RGB pixels of shape ``(H, W, 3)``, in the file's own size.
        anomaly_map: Of shape ``(h, w)``, at the model's scale; ``None`` if it gives none. Where the model's
            pre-processor crops, what it does not see is zero.
        mask: Booleans of the same shape: where the map exceeds the model's pixel threshold; ``None`` likewise.
    """

    image: np.ndarray
    anomaly_map: np.ndarray | None
    mask: np.ndarray | None


@dataclass(frozen=True)
class InspectionResult:
    """What was found of one image.

    Args:
        path: The file, as it was given or found, or another name of the image.
        verdict: The model's verdict; ``"error"`` if the image could not be inspected, empty if the model has no
            threshold.
        score: Anomaly score, in [0, 1] unless the model's post-processor does not normalize; ``None`` if there is none.
        threshold: The model calls images with a higher score anomalous.
        boxes: The regions that the model marks, in the file's own pixels.
        milliseconds: How long reading and prediction took; ``None`` if there is no prediction.
        model: Name of the model by its record; empty if it has none.
        reason: What the error was; empty if there was none.
        drift: Whether the images up to this one differ from the training images; empty if that is not known yet.
        defective: Whether the image shows a defect, if the truth is known. It is not written.
        picture: What can be drawn of it, if that was asked for. It is not written.
    """

    path: str
    verdict: Verdict
    score: float | None = None
    threshold: float | None = None
    boxes: tuple[Region, ...] = ()
    milliseconds: float | None = None
    model: str = ""
    reason: str = ""
    drift: Drift = ""
    defective: bool | None = None
    picture: Picture | None = field(default=None, compare=False, repr=False)

    def text(self) -> str:
        """Return the result as a line for people."""
        found = self.reason if self.score is None else f"{self.verdict}, score {self.score:.3f}"
        return printable(f"{self.path}: {found}")

    def csv(self) -> str:
        """Return the result as CSV: boxes as JSON, nothing for ``None``, control characters escaped."""
        values = self._plain()
        values["boxes"] = json.dumps(values["boxes"])
        return csv_line(printable(value) if isinstance(value, str) else value for value in values.values())

    def json(self) -> str:
        """Return the result as JSON, in ASCII: the path can be told exactly from its escapes."""
        return json.dumps(self._plain())

    def _plain(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in COLUMNS}
        return {**values, "boxes": [asdict(region) for region in self.boxes]}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "InspectionResult":
        """Return the result that a row of CSV or an object of JSON holds.

        Args:
            values: Values by column, as text or as JSON has them; only path and verdict are needed.

        Raises:
            ValueError: If they are of something else.

        Example:
            >>> InspectionResult.of({"path": "a.png", "verdict": "normal", "score": "0.25", "reason": ""}).score
            0.25
        """
        try:
            given = {name: values[name] for name in COLUMNS if values.get(name) not in (None, "")}
            given["path"] = values["path"]
            given["verdict"] = _WORDS["verdict"][values["verdict"]]
            given["drift"] = _WORDS["drift"][values.get("drift") or ""]
            for name in _NUMBERS:
                number = float(given.get(name, math.nan))
                given[name] = number if math.isfinite(number) else None
            boxes = given.get("boxes", [])
            given["boxes"] = tuple(Region(**box) for box in (json.loads(boxes) if isinstance(boxes, str) else boxes))
            return cls(**given)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = f"not a result of rd-plugin inspect ({error!r})"
            raise ValueError(msg) from error


COLUMNS = tuple(entry.name for entry in fields(InspectionResult) if entry.name not in {"defective", "picture"})


def csv_line(values: Iterable[object]) -> str:
    """Return values as a line of CSV, without its end."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()
