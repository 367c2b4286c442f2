# SPDX-License-Identifier: Apache-2.0
"""Images with what a model says of them and what is known of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rd_plugin.data.check import Problem

from .pictures import Picture

__all__ = ["JudgedImage", "Judgement"]


@dataclass(frozen=True)
class JudgedImage:
    """An image, what the model says of it, and the truth where it is known.

    Args:
        path: The file, or another name of the image.
        score: Anomaly score; ``None`` if the model gave none that is a number.
        anomalous: The model's verdict; ``None`` if there is none.
        defective: Whether the image shows a defect; ``None`` if that is not known.
        reason: Why it was not judged; empty if it was.
        picture: The image made small, and its anomaly map; ``None`` to go without.
        boxes: Regions that look wrong as left, top, width and height, in shares of the image's width and height.
        pixel_boxes: The same in the image's pixels, as long as its size is not known.
        drift: Whether images were unlike those that the model was trained on by then; ``None`` if that was not known.
    """

    path: str
    score: float | None = None
    anomalous: bool | None = None
    defective: bool | None = None
    reason: str = ""
    picture: Picture | None = None
    boxes: Sequence[tuple[float, float, float, float]] = ()
    pixel_boxes: Sequence[tuple[float, float, float, float]] = ()
    drift: bool | None = None


@dataclass(frozen=True)
class Judgement:
    """What a report tells of.

    Args:
        title: What was judged, by what.
        images: All images, in any order.
        threshold: The model's threshold: a higher score is anomalous; ``None`` if it is not known.
        findings: What the data check has found; ``None`` if it has not looked.
        record: Where the model comes from, as plain data; ``None`` if that is not known.
        metrics: Figures of the run by name, such as ``{"image_AUROC": 0.94}``.
        drift: Whether the images are like those that the model was trained on, in words; empty to say nothing of it.
    """

    title: str
    images: Sequence[JudgedImage]
    threshold: float | None = None
    findings: Sequence[Problem] | None = None
    record: Mapping[str, Any] | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    drift: str = ""
