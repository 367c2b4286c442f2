# SPDX-License-Identifier: Apache-2.0
"""A report of inspected images, from memory or from a file."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

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
        results: Their results; of an image that has several, the last counts.
        output: The HTML file.
        normal: Name of folders whose images are known to be normal; all others then count as defects. ``None`` if
            nothing is known.
        folder: Where relative paths begin.
        record: Where the model comes from, as plain data; ``None`` if that is not known.
        drift: What is known of drift, in words; by default what the results say.

    Returns:
        The number of images.

    Raises:
        OSError: If the page cannot be written.
    """
    shown = list({result.path: result for result in results}.values())
    if normal is not None:
        shown = [replace(result, defective=normal not in Path(result.path).parts[:-1]) for result in shown]
    # What inspection's scores are normalized to, where a file does not say.
    threshold = next((result.threshold for result in reversed(results) if result.threshold is not None), 0.5)
    content = ReportContent(
        title=Path(output).stem,
        results=shown,
        thumbnails=illustrate(shown, folder),
        threshold=threshold,
        findings=[Problem(result.path, result.reason) for result in shown if result.reason],
        record=record,
        drift=drift or _describe_drift(shown),
    )
    write_report(output, content)
    return len(shown)


def _describe_drift(results: Sequence[InspectionResult]) -> str:
    """Say what results say of drift; nothing if none knows."""
    known = [result for result in results if result.drift]
    drifted = [result for result in known if result.drift == "yes"]
    if not known:
        return ""
    if not drifted:
        return f"The images do not differ from the training images, as far as {len(known)} of the results say."
    return (
        f"The images differ from the training images: {len(drifted)} of {len(results)} results say so, the first is "
        f"{drifted[0].path}."
    )


def illustrate(results: Sequence[InspectionResult], folder: str | Path = ".") -> dict[str, Thumbnail]:
    """Make thumbnails where the files are still there, with a progress bar on a terminal.

    Args:
        results: The images' results.
        folder: Where relative paths begin.

    Returns:
        Thumbnails by path.
    """

    def shrink(result: InspectionResult) -> Thumbnail | None:
        try:
            with Image.open(Path(folder) / result.path) as file:
                return make_thumbnail(file, expected=len(results))
        except (OSError, ValueError, Image.DecompressionBombError):
            return None

    with ThreadPoolExecutor() as pool:
        small = tqdm(pool.map(shrink, results), total=len(results), desc="pictures", unit="image", disable=None)
        found = zip(results, small, strict=True)
        return {result.path: thumbnail for result, thumbnail in found if thumbnail is not None}
