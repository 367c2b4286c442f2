# SPDX-License-Identifier: Apache-2.0
"""Images that look unlike the others of a set, such as an empty, overexposed or different one among training images."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rd_plugin.data.check import Problem

from .appearance import STATISTICS

__all__ = ["check_outliers", "outliers"]

# With fewer images the usual spread is not known.
_FEWEST = 20
# An image is an outlier at this multiple of the usual distance. Of 320 boards, 762 magnetic tiles and 300 solar cells,
# 29 (of another colour), 5 and 2 are; a white, a black or a different image has 45 or more in each set.
_LIMIT = 5.0
# Least spread of each statistic: in grey values, logarithms or shares.
_LEAST = np.array([2, 0.05, 2, 2, 2, 0.01, 0.01, 1, 1, 0.05, 0.05, 0.05, 0.02, 0.005, 0.005])
# Standard deviation of a normal distribution by its median absolute deviation, and by its 10 % and 90 % quantiles.
_OF_MEDIAN, _OF_QUANTILES = 1.4826, 1 / 2.563
# Outliers beyond this many deviations count no more for the covariance; shrinkage of the covariance.
_CLIP, _SHRINKAGE = 4.0, 0.05
_NAMED = 5


def outliers(statistics: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute how unusual each image is: a Mahalanobis distance with robust centre and spread.

    Args:
        statistics: Statistics of shape ``(N, 15)``, see :func:`~rd_plugin.drift.image_statistics`.

    Returns:
        Distances of shape ``(N,)``, about 1 for usual images; and the index of the statistic in which each image
        differs most, of shape ``(N,)``.
    """
    centred = statistics - np.median(statistics, axis=0)
    low, high = np.quantile(statistics, [0.1, 0.9], axis=0)
    spread = np.maximum(_OF_MEDIAN * np.median(np.abs(centred), axis=0), _OF_QUANTILES * (high - low))
    deviations = centred / np.maximum(spread, _LEAST)
    clipped = np.clip(deviations, -_CLIP, _CLIP)
    covariance = clipped.T @ clipped / len(clipped) + _SHRINKAGE * np.eye(len(STATISTICS))
    squared = (deviations * np.linalg.solve(covariance, deviations.T).T).sum(1)
    return np.sqrt(squared / len(STATISTICS)), np.abs(deviations).argmax(1)


def check_outliers(statistics: Mapping[str, np.ndarray]) -> list[Problem]:
    """Name the training images that look unlike the others.

    Returns:
        One note with the most unusual ones; nothing if there are none, or fewer than 20 images.
    """
    if len(statistics) < _FEWEST:
        return []
    paths = list(statistics)
    distances, most = outliers(np.stack(list(statistics.values())))
    found = [place for place in np.argsort(-distances) if distances[place] > _LIMIT]
    if not found:
        return []
    named = [f"{Path(paths[place]).name} ({STATISTICS[most[place]]})" for place in found[:_NAMED]]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    message = (
        f"{len(found)} of {len(paths)} images look unlike the others: {', '.join(named)}{more}. Look at them: a defect "
        "or another part among the training images is learned as normal."
    )
    return [Problem("train", message, "note")]
