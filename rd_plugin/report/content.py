# SPDX-License-Identifier: Apache-2.0
"""What a report is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rd_plugin.data.check import Problem
from rd_plugin.results import InspectionResult

from .thumbnails import Thumbnail

__all__ = ["ReportContent"]


@dataclass(frozen=True)
class ReportContent:
    """What a report is made of.

    Args:
        title: The model and the images.
        results: The results of all images, in any order.
        thumbnails: Small images by the results' paths; images without one are listed without.
        threshold: The model's threshold: a higher score is anomalous; ``None`` if it is not known.
        findings: What the data check has found; ``None`` if it has not looked.
        record: Where the model comes from, as plain data; ``None`` if that is not known.
        metrics: Figures of the run by name, such as ``{"image_AUROC": 0.94}``.
        drift: Whether the images differ from the training images, in words; empty to say nothing of it.
    """

    title: str
    results: Sequence[InspectionResult]
    thumbnails: Mapping[str, Thumbnail] = field(default_factory=dict)
    threshold: float | None = None
    findings: Sequence[Problem] | None = None
    record: Mapping[str, Any] | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    drift: str = ""
