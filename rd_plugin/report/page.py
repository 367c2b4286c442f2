# SPDX-License-Identifier: Apache-2.0
"""The report as one self-contained HTML file."""

import base64
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rd_plugin.data.check import Problem
from rd_plugin.results import RATES, InspectionResult, OperatingPoint, operating_points
from rd_plugin.storage import atomic_file, printable

from .figures import Drawing, draw_curves, draw_histogram
from .selection import rank
from .template import page_part, page_template, script_hash
from .thumbnails import Thumbnail, fitting

__all__ = ["ReportContent", "write_report"]

# Range of scores, unless a model does not normalize them.
_USUAL = (0.0, 1.0)
# Parts or products from which on each is shown by itself.
_SEVERAL = 2
_RATE = "a false-alarm rate of {:g} %"
# Maximum number of findings and versions on a page.
_LISTED = 500


@dataclass(frozen=True)
class ReportContent:
    """The content of a report.

    Args:
        title: The model and the images.
        results: The results of all images, in any order.
        thumbnails: Small images by the results' paths; images without a thumbnail are listed without it.
        threshold: The model's threshold: a higher score is anomalous; ``None`` if it is unknown.
        findings: Findings of the data check; ``None`` if the data were not checked.
        record: Record of the model, as plain data; ``None`` if it is unknown.
        metrics: Metrics of the run by name, such as ``{"image_AUROC": 0.94}``.
        drift: Whether the images differ from the training images, in words; empty to leave it out.
        verdicts: Number of images by verdict, if ``results`` are only some of them; empty if they are all.
        scores: Number of images by score, likewise.
    """

    title: str
    results: Sequence[InspectionResult]
    thumbnails: Mapping[str, Thumbnail] = field(default_factory=dict)
    threshold: float | None = None
    findings: Sequence[Problem] | None = None
    record: Mapping[str, Any] | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    drift: str = ""
    verdicts: Mapping[str, int] = field(default_factory=dict)
    scores: Mapping[float, int] = field(default_factory=dict)


def write_report(path: str | Path, content: ReportContent) -> None:
    """Write a report atomically.

    Args:
        path: The HTML file; its folder is made if necessary, and an existing file is replaced.
        content: The content.

    Raises:
        OSError: If the file cannot be written.
    """
    results = sorted(content.results, key=rank)
    found = [content.thumbnails.get(result.path) for result in results]
    thumbnails = fitting(found)
    script = page_part("report.js")
    page = page_template("report.html.jinja").stream(
        content=content,
        style=page_part("report.css"),
        script=script,
        script_hash=script_hash(script),
        pictures=_texts(thumbnails),
        left_out=thumbnails.count(None) - found.count(None),
        findings=list(content.findings or ())[:_LISTED],
        record=_summary(content.record or {}),
        whole_record=json.dumps(content.record, indent=2),
        **_drawn(results, found, content),
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial, partial.open("wb") as file:
        page.dump(file, encoding="utf-8")


def _texts(thumbnails: Sequence[Thumbnail | None]) -> Iterator[tuple[int, str, str]]:
    """Index, image and overlay of each thumbnail, as base64."""
    for place, thumbnail in enumerate(thumbnails):
        if thumbnail is not None:
            yield place, base64.b64encode(thumbnail.image).decode(), base64.b64encode(thumbnail.overlay).decode()


def _drawn(
    results: Sequence[InspectionResult], thumbnails: Sequence[Thumbnail | None], content: ReportContent
) -> dict[str, Any]:
    """Rows, counts and drawings, and the numbers that the page computes with."""
    scored = [(result.score, result.defective) for result in results if result.score is not None]
    scores = [score for score, _ in scored]
    known = [(score, defective) for score, defective in scored if defective is not None]
    threshold = content.threshold
    low, high = _range([*scores, *content.scores, *([] if threshold is None else [threshold])])
    if content.scores:
        histogram = draw_histogram(list(content.scores), [None], low, high, list(content.scores.values()))
    else:
        histogram = draw_histogram(scores, [defective for _, defective in scored], low, high)
    curves: dict[str, Drawing] = {}
    products = sorted({result.product for result in results if result.product})
    # Scores of several parts are normalized by thresholds of their own: a curve of all would be no curve of any model.
    if {defective for _, defective in known} == {False, True} and len(products) < _SEVERAL:
        curves = draw_curves([score for score, _ in known], [defective for _, defective in known])
    return {
        "points": _named_points(results, threshold, products),
        "products": products if len(products) >= _SEVERAL else [],
        "histogram": histogram,
        "curves": curves,
        "truth": any(result.defective is not None for result in results),
        "errors": sum(result.verdict == "error" for result in results),
        "data": {
            "rows": [_row(result, thumbnail) for result, thumbnail in zip(results, thumbnails, strict=True)],
            "threshold": threshold,
            "low": low,
            "high": high,
            "histogram": histogram.place,
            "curves": {name: curve.place for name, curve in curves.items()},
            "products": [printable(result.product) for result in results] if len(products) >= _SEVERAL else [],
        },
    }


def _named_points(
    results: Sequence[InspectionResult], threshold: float | None, products: Sequence[str]
) -> list[tuple[str, OperatingPoint]]:
    """False alarms and defects found, with what they are of: rates, or each of several parts; empty for the model's."""
    if len(products) < _SEVERAL:
        points = _points(results, threshold)
        return [("" if point.rate is None else _RATE.format(100 * point.rate), point) for point in points]
    found = []
    for product in products:
        own = [result for result in results if result.product == product]
        at = next((result.threshold for result in own if result.threshold is not None), None)
        found += [(product, point) for point in _points(own, at, ())]
    return found


def _points(
    results: Sequence[InspectionResult], threshold: float | None, rates: Sequence[float] = RATES
) -> list[OperatingPoint]:
    """False alarms and defects found, if the truth is known."""
    known = [result for result in results if result.defective is not None and result.verdict != "error"]
    return operating_points(
        [math.nan if result.score is None else result.score for result in known],
        [bool(result.defective) for result in known],
        threshold,
        rates,
        anomalous=[result.verdict == "anomalous" for result in known] if all(r.verdict for r in known) else None,
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Both ends of an axis of scores."""
    low, high = min(values, default=_USUAL[0]), max(values, default=_USUAL[1])
    if low >= _USUAL[0] and high <= _USUAL[1]:
        return _USUAL
    room = 0.02 * (high - low) if high > low else 0.5
    return low - room, high + room


def _row(result: InspectionResult, thumbnail: Thumbnail | None) -> list[Any]:
    """The page's data of an image: boxes are left, top, width and height, as fractions of width and height."""
    width, height = (1, 1) if thumbnail is None else thumbnail.size
    boxes = [
        [
            *(round(share, 4) for share in (box.x / width, box.y / height, box.width / width, box.height / height)),
            int(box.ignored),
        ]
        for box in (result.boxes if thumbnail is not None else ())
    ]
    return [
        printable(result.path),
        None if result.score is None else round(result.score, 6),
        {"anomalous": True, "normal": False}.get(result.verdict),
        result.defective,
        printable(result.reason or "error") if result.verdict == "error" else "",
        boxes,
        "" if result.verdict == "error" else printable(result.reason),
    ]


def _summary(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The summary of a model's record."""
    arguments, data, versions = (record.get(name) or {} for name in ("arguments", "data", "versions"))
    size = record.get("input_size")
    entries = {
        "model": record.get("method"),
        "backbone": arguments.get("backbone"),
        "layers": ", ".join(map(str, arguments.get("layers") or ())),
        "image size": f"{size[0]} x {size[1]} pixels (height x width)" if size else None,
        "training steps": record.get("steps"),
        "seed": record.get("seed"),
        "training images": f"{data.get('images')} of {data.get('root') or data.get('module')}" if data else None,
        "fingerprint of them": data.get("fingerprint"),
        "teacher's weights": record.get("teacher"),
        "date": record.get("date"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    return [(name, printable(value)) for name, value in entries.items() if value not in (None, "")]
