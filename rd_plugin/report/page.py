# SPDX-License-Identifier: Apache-2.0
"""The report as one HTML file that needs nothing else."""

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rd_plugin.storage import atomic_file, printable

from .figures import Drawing, draw_curves, draw_histogram
from .judged import JudgedImage, Judgement
from .pictures import Picture, fitting

__all__ = ["write_report"]

# Scores lie between these unless a model does not normalize them.
_USUAL = (0.0, 1.0)
# Findings and versions that a page has room for.
_LISTED = 500


def write_report(path: str | Path, judgement: Judgement) -> None:
    """Write a report, whole or not at all.

    Args:
        path: The HTML file; its folder is made if it is not there, and a file that is there is replaced.
        judgement: What it tells of.

    Raises:
        OSError: If the file cannot be written.
    """
    images = sorted(judgement.images, key=_rank)
    pictures = fitting(image.picture for image in images)
    environment = Environment(
        loader=PackageLoader("rd_plugin.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = printable
    style, script = (Markup(_source(environment, name)) for name in ("report.css", "report.js"))
    page = environment.get_template("report.html.jinja").stream(
        judgement=judgement,
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        pictures=_texts(pictures),
        left_out=sum(image.picture is not None for image in images) - sum(entry is not None for entry in pictures),
        findings=list(judgement.findings or ())[:_LISTED],
        record=_summary(judgement.record or {}),
        whole_record=json.dumps(judgement.record, indent=2),
        **_drawn(images, judgement.threshold),
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial, partial.open("wb") as file:
        page.dump(file, encoding="utf-8")


def _rank(image: JudgedImage) -> tuple[bool, float, str]:
    """Highest scores first; before them those that are no number, and last what was not judged."""
    return bool(image.reason), -math.inf if image.score is None else -image.score, image.path


def _source(environment: Environment, name: str) -> str:
    """A template's text as it is."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _texts(pictures: Sequence[Picture | None]) -> Iterator[tuple[int, str, str]]:
    """Place, image and overlay of each picture, as base64."""
    for place, picture in enumerate(pictures):
        if picture is not None:
            image, overlay = picture.read()
            yield place, base64.b64encode(image).decode(), base64.b64encode(overlay).decode()


def _drawn(images: Sequence[JudgedImage], threshold: float | None) -> dict[str, Any]:
    """Rows and drawings, and what the page counts with."""
    judged = [image for image in images if image.score is not None and not image.reason]
    scores = [image.score for image in judged if image.score is not None]
    known = [image for image in judged if image.defective is not None]
    low, high = _range([*scores, *([] if threshold is None else [threshold])])
    histogram = draw_histogram(scores, [image.defective for image in judged], low, high)
    curves: dict[str, Drawing] = {}
    if {image.defective for image in known} == {False, True}:
        curves = draw_curves([image.score or 0.0 for image in known], [bool(image.defective) for image in known])
    return {
        "histogram": histogram,
        "curves": curves,
        "truth": any(image.defective is not None for image in images),
        "unjudged": sum(bool(image.reason) for image in images),
        "data": {
            "rows": [_row(image) for image in images],
            "threshold": threshold,
            "low": low,
            "high": high,
            "histogram": histogram.place,
            "curves": {name: curve.place for name, curve in curves.items()},
        },
    }


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Where an axis of scores begins and ends."""
    if not values or (min(values) >= _USUAL[0] and max(values) <= _USUAL[1]):
        return _USUAL
    low, high = min(values), max(values)
    room = 0.02 * (high - low) or 0.5
    return low - room, high + room


def _row(image: JudgedImage) -> list[Any]:
    """What the page knows of an image."""
    score = image.score if image.score is not None and math.isfinite(image.score) else None
    return [
        printable(image.path),
        None if score is None else round(score, 6),
        image.anomalous,
        image.defective,
        printable(image.reason),
        [[round(side, 4) for side in box] for box in image.boxes],
    ]


def _summary(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What most readers want to know of a model."""
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
