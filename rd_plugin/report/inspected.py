# SPDX-License-Identifier: Apache-2.0
"""A report of inspected images, from memory or from a file."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from rd_plugin.components import Region
from rd_plugin.data.check import Problem
from rd_plugin.results import InspectionResult

from .page import ReportContent, write_report
from .thumbnails import Thumbnail, make_thumbnail

__all__ = ["illustrate", "report_results"]


def report_results(
    results: Sequence[InspectionResult],
    output: str | Path,
    normal: str | None = None,
    folder: str | Path = ".",
    record: Mapping[str, Any] | None = None,
    drift: str = "",
) -> int:
    """Make a report of inspected images.

    Args:
        results: Their results; for an image with several results, the last one is used.
        output: The HTML file.
        normal: Name of folders whose images are normal; all others then count as defects. ``None`` if the truth is
            unknown.
        folder: Folder that relative paths refer to.
        record: Record of the model, as plain data; ``None`` if it is unknown.
        drift: Description of drift; by default from the results.

    Returns:
        The number of images.

    Raises:
        OSError: If the page cannot be written.
    """
    shown = list({result.path: result for result in results}.values())
    if normal is not None:
        shown = [replace(result, defective=normal not in Path(result.path).parts[:-1]) for result in shown]
    # The normalized threshold of inspection, if a file has none.
    threshold = next((result.threshold for result in reversed(results) if result.threshold is not None), 0.5)
    content = ReportContent(
        title=Path(output).stem,
        results=shown,
        thumbnails=illustrate(shown, folder, Region.of_record(record or {})),
        threshold=threshold,
        findings=[Problem(result.path, result.reason) for result in shown if result.verdict == "error"],
        record=record,
        drift=drift or _describe_drift(shown),
    )
    write_report(output, content)
    return len(shown)


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
            with Image.open(Path(folder) / result.path) as file:
                return make_thumbnail(file, expected=len(results), region=region)
        except (OSError, ValueError, Image.DecompressionBombError):
            return None

    with ThreadPoolExecutor() as pool:
        small = tqdm(pool.map(shrink, results), total=len(results), desc="pictures", unit="image", disable=None)
        found = zip(results, small, strict=True)
        return {result.path: thumbnail for result, thumbnail in found if thumbnail is not None}
