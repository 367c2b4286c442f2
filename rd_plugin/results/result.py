# SPDX-License-Identifier: Apache-2.0
"""The result of one image, from a file, memory or a test run, as text, CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

import numpy as np

from rd_plugin.storage import printable

__all__ = ["AS_A_WHOLE", "COLUMNS", "NOT_REGISTERED", "InspectionResult", "Picture", "Region", "csv_line"]

Verdict = Literal["normal", "anomalous", "error", ""]
Drift = Literal["", "yes", "no"]
Aligned = Literal["", "yes", "no"]

# Accepted when reading; version 0.2 wrote "not judged".
_WORDS: dict[str, dict[str, str]] = {
    "verdict": {**{word: word for word in get_args(Verdict)}, "not judged": "error"},
    "drift": {word: word for word in get_args(Drift)},
    "aligned": {word: word for word in get_args(Aligned)},
}
_NUMBERS = ("score", "threshold", "milliseconds", "correlation", "shift_x", "shift_y")
#: Reason of an anomalous verdict where no pixel of the map exceeds the pixel threshold.
AS_A_WHOLE = "no region: the image is anomalous as a whole"
#: What is said of an image that a model with an alignment could not register.
NOT_REGISTERED = "not registered: inspected as it is"


@dataclass(frozen=True)
class Region:
    """A region that a model marks, in the pixels of the image file.

    Args:
        x: Column of the box's left side.
        y: Row of its upper side.
        width: The box's width.
        height: The box's height.
        area: Pixels of the region itself.
        peak: Highest value of the anomaly map in the region; ``None`` without a map.
        mean: Mean value of the map in it; ``None`` likewise, and in files of version 0.2, as all that follow.
        center_x: Column of its centroid.
        center_y: Row of its centroid.
        length: Long side of the smallest rotated rectangle around it.
        breadth: Short side of that rectangle.
        ignored: Whether a rule ignores it: it does not make the image anomalous.
    """

    x: int
    y: int
    width: int
    height: int
    area: int
    peak: float | None
    mean: float | None = None
    center_x: float | None = None
    center_y: float | None = None
    length: float | None = None
    breadth: float | None = None
    ignored: bool = False


@dataclass(frozen=True)
class Picture:
    """The data for drawing an image.

    Args:
        image: 8-bit RGB pixels of shape ``(H, W, 3)``, in the file's own size.
        anomaly_map: Anomaly map of shape ``(h, w)``, at the model's scale; ``None`` if the model has no such output. It
            is zero where the model's pre-processor crops the image.
        mask: Booleans of the same shape: where the map exceeds the model's pixel threshold; ``None`` likewise.
        outlines: Outlines of the region of interest, each of shape ``(K, 1, 2)``, in the image's pixels.
    """

    image: np.ndarray
    anomaly_map: np.ndarray | None
    mask: np.ndarray | None
    outlines: Sequence[np.ndarray] = ()


@dataclass(frozen=True)
class InspectionResult:
    """The result of one image.

    Args:
        path: The file, as it was given or found, or another name of the image.
        verdict: The model's verdict; ``"error"`` if the image could not be inspected, empty if the model has no
            threshold.
        score: Anomaly score, in [0, 1] unless the model's post-processor does not normalize; ``None`` if there is none.
        threshold: The model calls images with a higher score anomalous.
        boxes: The regions that the model marks, in the file's own pixels.
        milliseconds: Time for reading and prediction; ``None`` without a prediction.
        model: Name of the model, by its record or its file.
        reason: The error message, or :data:`AS_A_WHOLE` for an anomalous image without a region; empty otherwise.
        drift: Whether the images up to this one differ from the training images; empty while that is unknown.
        time: When the image was inspected, ISO 8601 with the zone; empty if it is unknown.
        part_id: Name of the part that the image shows; empty if it is unknown.
        product: Name of the product whose model it is; empty if the model was not taken from a store.
        aligned: Whether a model with an alignment could register the image; empty for other models.
        correlation: With the mean of normal images, in [-1, 1], where they fit best; ``None`` for other models.
        shift_x: How far the part is to the right of its usual place, in the file's pixels; ``None`` for other models,
            and if the pre-processor crops.
        shift_y: How far it is below.
        defective: Whether the image has a defect, if the truth is known. It is not written.
        picture: Data for drawing, if pictures were requested. It is not written.
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
    time: str = ""
    part_id: str = ""
    product: str = ""
    aligned: Aligned = ""
    correlation: float | None = None
    shift_x: float | None = None
    shift_y: float | None = None
    defective: bool | None = None
    picture: Picture | None = field(default=None, compare=False, repr=False)

    def text(self) -> str:
        """Return the result as a line for people."""
        found = [] if self.score is None else [self.verdict, f"score {self.score:.3f}"]
        if ignored := sum(region.ignored for region in self.boxes):
            found.append(f"{ignored} region{'s' if ignored > 1 else ''} ignored")
        if self.aligned == "no":
            found.append(NOT_REGISTERED)
        return printable(f"{self.path}: {', '.join(filter(None, [*found, self.reason]))}")

    def csv(self) -> str:
        """Return the result as CSV: boxes as JSON, nothing for ``None``, control characters escaped."""
        values = self.plain()
        values["boxes"] = json.dumps(values["boxes"])
        return csv_line(printable(value) if isinstance(value, str) else value for value in values.values())

    def json(self) -> str:
        """Return the result as JSON, in ASCII with escapes, which keep the path exactly."""
        return json.dumps(self.plain())

    def plain(self) -> dict[str, Any]:
        """Return the result as plain values by column; boxes as dictionaries."""
        values = {name: getattr(self, name) for name in COLUMNS}
        return {**values, "boxes": [asdict(region) for region in self.boxes]}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "InspectionResult":
        """Return the result that a row of CSV or an object of JSON holds.

        Args:
            values: Values by column, as text or as JSON has them; only path and verdict are needed.

        Raises:
            ValueError: If they are not a result.

        Example:
            >>> InspectionResult.of({"path": "a.png", "verdict": "normal", "score": "0.25", "reason": ""}).score
            0.25
        """
        try:
            given = {name: values[name] for name in COLUMNS if values.get(name) not in (None, "")}
            given["path"] = values["path"]
            given["verdict"] = _WORDS["verdict"][values["verdict"]]
            for name in ("drift", "aligned"):
                given[name] = _WORDS[name][values.get(name) or ""]
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
    """Return values as a line of CSV, without the line break."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()
