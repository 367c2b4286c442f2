# SPDX-License-Identifier: Apache-2.0
"""A report of inspected images, from memory or from a file."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from rd_plugin.components import Region
from rd_plugin.data.check import Problem
from rd_plugin.results import InspectionResult
from rd_plugin.storage import is_address, read_address

from .page import ReportContent, write_report
from .selection import Selection
from .thumbnails import Thumbnail, make_thumbnail

__all__ = ["illustrate", "report_results"]


def report_results(
    results: Sequence[InspectionResult] | Selection,
    output: str | Path,
    normal: str | None = None,
    folder: str | Path = ".",
    record: Mapping[str, Any] | None = None,
    drift: str = "",
) -> int:
    """Make a report of inspected images.

    Args:
        results: Their results; for an image with several results, the last one is used. Of more than 10,000 images
            whose truth is unknown, the worst and a sample are shown, and all are counted; see :class:`Selection`.
        output: The HTML file.
        normal: Name of folders whose images are normal; all others then count as defects. ``None`` if the truth is
            unknown, as that of a selection.
        folder: Folder that relative paths refer to.
        record: Record of the model, as plain data; ``None`` if it is unknown.
        drift: Description of drift; by default from the results.

    Returns:
        The number of images.

    Raises:
        OSError: If the page cannot be written.
    """
    if isinstance(results, Selection):
        selection = results
    else:
        drift = drift or _describe_drift(list({result.path: result for result in results}.values()))
        selection = Selection(results)
    shown, errors = selection.shown, selection.errors
    if normal is not None and not isinstance(results, Selection):
        shown = [
            replace(result, defective=normal not in Path(result.path).parts[:-1])
            for result in {result.path: result for result in results}.values()
        ]
    content = ReportContent(
        title=Path(output).stem,
        results=shown,
        thumbnails=illustrate(shown, folder, Region.of_record(record or {})),
        threshold=selection.threshold,
        findings=[Problem(result.path, result.reason) for result in errors],
        record=record,
        drift=drift,
        verdicts={} if normal is not None else selection.verdicts,
        scores={} if normal is not None else selection.scores,
    )
    write_report(output, content)
    return sum(content.verdicts.values()) or len(shown)


def _describe_drift(results: Sequence[InspectionResult]) -> str:
    """Describe drift from the results; empty if none has the information."""
    known = [result for result in results if result.drift]
    drifted = [result for result in known if result.drift == "yes"]
    if not known:
        return ""
    if not drifted:
        return f"The images do not differ from the training images, according to {len(known)} of the results."
    return (
        f"The images differ from the training images: {len(drifted)} of {len(results)} results show it, first "
        f"{drifted[0].path}."
    )


def illustrate(
    results: Sequence[InspectionResult], folder: str | Path = ".", region: Region | None = None
) -> dict[str, Thumbnail]:
    """Make thumbnails of the files that still exist, with a progress bar on a terminal.

    Args:
        results: The images' results.
        folder: Folder that relative paths refer to.
        region: Region of interest, whose outline is drawn; ``None`` if there is none.

    Returns:
        Thumbnails by path.
    """

    def shrink(result: InspectionResult) -> Thumbnail | None:
        try:
            remote = is_address(result.path)
            with Image.open(BytesIO(read_address(result.path)) if remote else Path(folder) / result.path) as file:
                return make_thumbnail(file, expected=len(results), region=region)
        except (OSError, ValueError, Image.DecompressionBombError):
            return None

    with ThreadPoolExecutor() as pool:
        small = tqdm(pool.map(shrink, results), total=len(results), desc="pictures", unit="image", disable=None)
        found = zip(results, small, strict=True)
        return {result.path: thumbnail for result, thumbnail in found if thumbnail is not None}
