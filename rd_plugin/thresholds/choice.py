# SPDX-License-Identifier: Apache-2.0
"""A threshold for a false-alarm rate, from how a model scores new images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from rd_plugin.inspection import Inspector
from rd_plugin.post_processor import false_alarm_threshold
from rd_plugin.results import InspectionResult, RegionRules, Share, counting_level

__all__ = ["Choice", "Measured", "choose", "measure"]

# Added to a threshold, so that the image that sets it does not exceed it after rounding.
_MARGIN = 1e-6


@dataclass(frozen=True)
class Measured:
    """How a model scores images, on its normalized scale.

    Args:
        scores: Score of each image, of shape ``(N,)``. With rules about regions: the highest threshold of score and map
            at which the image is anomalous.
        peaks: Highest value of each image's map, of shape ``(N,)``; the scores again for a model without maps.
        files: The images, in the same order.
    """

    scores: np.ndarray
    peaks: np.ndarray
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """A threshold and what to expect of it.

    Args:
        rate: The requested false-alarm rate; ``None`` for a threshold by hand.
        image: Threshold of scores, on the current normalized scale.
        pixel: Threshold of the map, likewise.
        expected: False-alarm rate to expect; ``None`` for a threshold by hand without good images.
        interval: Bounds of that rate among 100 new good images, which hold with 95 %; ``None`` likewise.
        found: Defects above the threshold; ``None`` if none were given.
    """

    rate: float | None
    image: float
    pixel: float
    expected: float | None = None
    interval: tuple[float, float] | None = None
    found: Share | None = None


def measure(inspector: Inspector, paths: Sequence[str | Path]) -> Measured:
    """Score images.

    Args:
        inspector: The model.
        paths: Files, folders or patterns, as :class:`~rd_plugin.inspection.Inspector` takes them.

    Returns:
        Scores and peaks.

    Raises:
        ValueError: If there is no image, or one cannot be inspected.
    """
    scores, peaks, files = [], [], []
    for result in inspector([str(path) for path in paths], pictures=True):
        if result.score is None:
            msg = f"{result.path!r} cannot be inspected: {result.reason}"
            raise ValueError(msg)
        peak = _peak(result, inspector.rules)
        # With a rule, an image is anomalous as long as its score and a region that counts exceed the threshold.
        scores.append(min(result.score, peak) if inspector.rules else result.score)
        peaks.append(scores[-1] if inspector.rules else peak)
        files.append(result.path)
    if not scores:
        msg = f"{', '.join(map(str, paths))!r} contains no image."
        raise ValueError(msg)
    return Measured(np.array(scores), np.array(peaks), tuple(files))


def _peak(result: InspectionResult, rules: RegionRules) -> float:
    """The highest threshold of the map at which a region counts; the score without a map."""
    picture: Any = result.picture
    if picture.anomaly_map is None:
        return cast("float", result.score)
    return counting_level(picture.anomaly_map, picture.image.shape[:2], rules)


def choose(rate: float, good: Measured, defects: Measured | None = None) -> Choice:
    """Choose the threshold that a share of new good images exceeds, as a training does.

    Args:
        rate: The share, in (0, 1).
        good: Scores of good images that the model was not trained on.
        defects: Scores of defects, which are only counted.

    Returns:
        The threshold; see :func:`~rd_plugin.post_processor.false_alarm_threshold`.

    Raises:
        ValueError: If the rate is out of range.

    Example:
        >>> scores = np.linspace(0.2, 0.6, 99)
        >>> choice = choose(0.05, Measured(scores, scores), Measured(np.array([0.5, 0.9]), np.array([0.5, 0.9])))
        >>> round(choice.image, 3), choice.expected, str(choice.found)[:8]
        (0.584, 0.05, '1 of 2 (')
    """
    if not 0 < rate < 1:
        msg = f"rate must be a fraction between 0 and 1, got {rate}."
        raise ValueError(msg)
    image, expected, interval = false_alarm_threshold(torch.from_numpy(good.scores), rate)
    pixel, _, _ = false_alarm_threshold(torch.from_numpy(good.peaks), rate)
    limit = float(image) + _MARGIN
    found = None if defects is None else Share(int((defects.scores > limit).sum()), len(defects.scores))
    return Choice(rate, limit, float(pixel) + _MARGIN, expected, interval, found)
