# SPDX-License-Identifier: Apache-2.0
"""False alarms and defects found, at the model's threshold and at false-alarm rates."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["RATES", "OperatingPoint", "Share", "operating_points"]

#: False-alarm rates at which results are reported by default.
RATES = (0.001, 0.01, 0.05, 0.1)


@dataclass(frozen=True)
class Share:
    """A count among a number of images, with the rate's Clopper-Pearson interval.

    Args:
        count: Number of images counted.
        total: Number of all images, at least 1.

    Example:
        >>> share = Share(3, 120)
        >>> share.rate
        0.025
        >>> [round(limit, 4) for limit in share.interval]
        [0.0052, 0.0713]
        >>> str(share)
        '3 of 120 (2.5 %, 95 % interval 0.5 to 7.1 %)'
        >>> share.percent
        '2.5 % (0.5 to 7.1)'
    """

    count: int
    total: int

    @property
    def rate(self) -> float:
        """The share, in [0, 1]."""
        return self.count / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95 % interval of the rate, in [0, 1]."""
        # Importing it takes a second, which a station need not wait for.
        from scipy.stats import binomtest

        found = binomtest(self.count, self.total).proportion_ci(0.95, method="exact")
        return float(found.low), float(found.high)

    @property
    def percent(self) -> str:
        """Rate and interval for a table."""
        low, high = (f"{100 * limit:.1f}" for limit in self.interval)
        return f"{100 * self.rate:.1f} % ({low} to {high})"

    def __str__(self) -> str:
        """Count, rate and interval in words."""
        low, high = (f"{100 * limit:.1f}" for limit in self.interval)
        return f"{self.count} of {self.total} ({100 * self.rate:.1f} %, 95 % interval {low} to {high} %)"


@dataclass(frozen=True)
class OperatingPoint:
    """False alarms and defects found at a threshold. An image is anomalous if its score exceeds it.

    Args:
        rate: False-alarm rate in [0, 1) that the threshold does not exceed on these images; ``None`` for the model's
            own.
        threshold: The threshold, in units of the scores; infinite if no finite threshold satisfies the rate.
        false_alarms: Normal images above it; ``None`` if there is no normal image.
        defects_found: Defective images above it; ``None`` if there is no defect.
    """

    rate: float | None
    threshold: float
    false_alarms: Share | None
    defects_found: Share | None


def operating_points(
    scores: Iterable[float],
    defective: Iterable[bool],
    threshold: float | None = None,
    rates: Sequence[float] = RATES,
    anomalous: Iterable[bool] | None = None,
) -> list[OperatingPoint]:
    """Count false alarms and defects found at a threshold and at false-alarm rates.

    For a rate, the threshold is the lowest that at most this share of the given normal images exceeds. It is valid for
    these images. The rate on new images may be outside of the interval, since the threshold was chosen on these images.

    Args:
        scores: A score for each image; one that is not a number counts as above every threshold.
        defective: Whether each image has a defect.
        threshold: The model's own threshold; left out if ``None`` or not a number.
        rates: False-alarm rates, each in [0, 1); left out if there is no normal image.
        anomalous: The model's labels, which are counted at its own threshold; by default whether the score exceeds the
            threshold. The model decides before scores are normalized and rounded.

    Returns:
        The operating point of the threshold first, then one for each rate.

    Raises:
        ValueError: If numbers of scores and labels differ, or a rate is outside [0, 1).

    Example:
        >>> for point in operating_points([0.1, 0.3, 0.4, 0.2, 0.9], [0, 0, 0, 1, 1], threshold=0.3, rates=[0.01, 0.4]):
        ...     print(point.rate, point.threshold, point.false_alarms.count, point.defects_found.count)
        None 0.3 1 1
        0.01 0.4 0 1
        0.4 0.3 1 1
    """
    if wrong := [rate for rate in rates if not 0 <= rate < 1]:
        msg = f"rates must be at least 0 and below 1, got {wrong[0]}."
        raise ValueError(msg)
    values = np.nan_to_num(np.array(list(scores), dtype=float), nan=np.inf, posinf=np.inf, neginf=-np.inf)
    labels = np.array(list(defective), dtype=bool)
    if len(values) != len(labels):
        msg = f"scores and defective must be of one length, got {len(values)} and {len(labels)}."
        raise ValueError(msg)
    points = []
    if threshold is not None and not math.isnan(threshold):
        called = _above(values, threshold) if anomalous is None else np.array(list(anomalous), dtype=bool)
        points.append(OperatingPoint(None, threshold, _share(called[~labels]), _share(called[labels])))
    normal, defects = np.sort(values[~labels])[::-1], values[labels]
    for rate in rates if len(normal) else ():
        # The small number is for rounding: 0.29 * 100 is less than 29.
        limit = float(normal[math.floor(rate * len(normal) + 1e-9)])
        points.append(OperatingPoint(rate, limit, _share(_above(normal, limit)), _share(_above(defects, limit))))
    return points


def _above(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Whether scores exceed a threshold; infinite ones exceed every threshold."""
    return (scores > threshold) | (scores == np.inf)


def _share(counted: np.ndarray) -> Share | None:
    return Share(int(counted.sum()), len(counted)) if len(counted) else None
