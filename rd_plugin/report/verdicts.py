# SPDX-License-Identifier: Apache-2.0
"""Verdicts as ``rd-plugin inspect`` has written them, with pictures from the files that they are about."""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from rd_plugin.data.check import Problem

from .judged import JudgedImage, Judgement
from .page import write_report
from .pictures import PictureStore

__all__ = ["illustrate", "read_verdicts", "report_verdicts"]

# Pictures that wait to be put away, at most.
_WAITING = 256
# What inspect's scores are normalized to.
_THRESHOLD = 0.5
_DRIFT: Mapping[str, bool | None] = {"yes": True, "no": False, "": None}
_VERDICTS: Mapping[str, bool | None] = {"anomalous": True, "normal": False, "not judged": None}


def report_verdicts(
    verdicts: str | Path,
    output: str | Path,
    good: str | None = None,
    folder: str | Path = ".",
    record: Mapping[str, Any] | None = None,
    drift: str = "",
) -> int:
    """Make a report of what ``rd-plugin inspect`` has written.

    Args:
        verdicts: The file, as in :func:`read_verdicts`.
        output: The HTML file.
        good: As in :func:`read_verdicts`.
        folder: Where relative paths begin.
        record: Where the model comes from, as plain data; ``None`` if that is not known.
        drift: What is known of drift, in words; by default what the rows say.

    Returns:
        The number of images.

    Raises:
        OSError: If a file cannot be read or written.
        ValueError: If the verdicts are none.
    """
    images, threshold = read_verdicts(verdicts, good)
    judgement = Judgement(
        title=Path(output).stem,
        images=list(illustrate(images, folder)),
        threshold=_THRESHOLD if threshold is None else threshold,
        findings=[Problem(image.path, image.reason) for image in images if image.reason],
        record=record,
        drift=drift or _describe_drift(images),
    )
    write_report(output, judgement)
    return len(images)


def _describe_drift(images: Sequence[JudgedImage]) -> str:
    """Say what rows say of drift; nothing if none knows."""
    known = [image.drift for image in images if image.drift is not None]
    if not known:
        return ""
    if not any(known):
        return f"Images are like those that the model was trained on, as far as was known by {len(known)} of them."
    first = next(image for image in images if image.drift)
    return (
        f"Images are not like those that the model was trained on: so it was said for {sum(known)} of {len(images)}, "
        f"first with {first.path}."
    )


def read_verdicts(path: str | Path, good: str | None = None) -> tuple[list[JudgedImage], float | None]:
    """Read what ``rd-plugin inspect`` has written by ``--csv`` or ``--jsonl``.

    Args:
        path: The file: CSV if its name ends in ``.csv``, otherwise JSON lines.
        good: Name of folders whose images are known to be good; all others then count as defects. ``None`` if nothing
            is known.

    Returns:
        The images in the file's order, an image's last line alone where it has several; and the threshold, ``None``
        if the file does not say.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it holds something else; names the line.

    Example:
        >>> file = getfixture("tmp_path") / "verdicts.jsonl"
        >>> _ = file.write_text('{"path": "good/a.png", "verdict": "anomalous", "score": 0.7, "reason": ""}')
        >>> [(image.score, image.anomalous, image.defective) for image in read_verdicts(file, good="good")[0]]
        [(0.7, True, False)]
    """
    path = Path(path)
    images, threshold = {}, None
    for number, row in _rows(path):
        try:
            image, own = _image(row, good)
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{str(path)!r}, line {number}: no verdict as rd-plugin inspect writes it ({error!r})."
            raise ValueError(msg) from error
        images[image.path] = image
        threshold = own if own is not None else threshold
    return list(images.values()), threshold


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Numbered rows of a file."""
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix.lower() == ".csv":
            yield from enumerate(csv.DictReader(file), 2)
            return
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except (ValueError, RecursionError):
                    yield number, None


def _image(row: Mapping[str, Any], good: str | None) -> tuple[JudgedImage, float | None]:
    """An image and the threshold that it was judged by, from a row's fields."""
    path, verdict, score = row["path"], row["verdict"], row.get("score")
    anomalous = _VERDICTS[verdict]
    score = float(score) if score not in (None, "") else None
    threshold = row.get("threshold")
    image = JudgedImage(
        path=str(path),
        score=score if score is not None and math.isfinite(score) else None,
        anomalous=anomalous,
        defective=None if good is None else good not in Path(str(path)).parts[:-1],
        reason=str(row.get("reason") or verdict) if anomalous is None else "",
        pixel_boxes=_boxes(row.get("boxes") or []),
        drift=_DRIFT[row.get("drift") or ""],
    )
    return image, float(threshold) if threshold not in (None, "") else None


def _boxes(value: str | list[Any]) -> Sequence[tuple[float, float, float, float]]:
    """Regions in pixels, which CSV has as JSON."""
    regions = json.loads(value) if isinstance(value, str) else value
    return tuple((box["x"], box["y"], box["width"], box["height"]) for box in regions)


def illustrate(images: Sequence[JudgedImage], folder: str | Path = ".") -> Iterator[JudgedImage]:
    """Add pictures and boxes where the files are still there, with a progress bar on a terminal.

    Args:
        images: The images.
        folder: Where relative paths begin.
    """
    store = PictureStore(len(images))

    def shrink(image: JudgedImage) -> tuple[tuple[bytes, bytes], tuple[int, int]] | None:
        try:
            with Image.open(Path(folder) / image.path) as file:
                size = file.size
                return store.shrink(file), size
        except (OSError, ValueError, Image.DecompressionBombError):
            return None

    with ThreadPoolExecutor() as pool, tqdm(total=len(images), desc="pictures", unit="image", disable=None) as bar:
        for start in range(0, len(images), _WAITING):
            part = images[start : start + _WAITING]
            for image, small in zip(part, pool.map(shrink, part), strict=True):
                bar.update()
                if small is None:
                    yield image
                    continue
                (width, height), shares = small[1], image.pixel_boxes
                boxes = tuple((x / width, y / height, w / width, h / height) for x, y, w, h in shares)
                yield replace(image, picture=store.put(*small[0]), boxes=boxes)
