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

from .judged import JudgedImage
from .pictures import PictureStore

__all__ = ["illustrate", "read_verdicts"]

# Pictures that wait to be put away, at most.
_WAITING = 256
_VERDICTS: Mapping[str, bool | None] = {"anomalous": True, "normal": False, "not judged": None}


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
    )
    return image, float(threshold) if threshold not in (None, "") else None


def illustrate(images: Sequence[JudgedImage], folder: str | Path = ".") -> Iterator[JudgedImage]:
    """Add pictures where the files are still there, with a progress bar on a terminal.

    Args:
        images: The images.
        folder: Where relative paths begin.
    """
    store = PictureStore(len(images))

    def shrink(image: JudgedImage) -> tuple[bytes, bytes] | None:
        try:
            with Image.open(Path(folder) / image.path) as file:
                return store.shrink(file)
        except (OSError, ValueError, Image.DecompressionBombError):
            return None

    with ThreadPoolExecutor() as pool, tqdm(total=len(images), desc="pictures", unit="image", disable=None) as bar:
        for start in range(0, len(images), _WAITING):
            part = images[start : start + _WAITING]
            for image, small in zip(part, pool.map(shrink, part), strict=True):
                bar.update()
                yield image if small is None else replace(image, picture=store.put(*small))
