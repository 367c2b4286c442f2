# SPDX-License-Identifier: Apache-2.0
"""What normal images look like to a model: the sample that others are compared with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .appearance import STATISTICS

__all__ = ["LARGEST", "Reference", "sample"]

# Images, at most, in a sample: enough to tell others apart by, and few enough for a record.
LARGEST = 256


@dataclass(frozen=True)
class Reference:
    """A sample of normal images.

    Args:
        statistics: Of images that the model was trained on, of shape ``(N, 15)``.
        scores: Of normal images that it was not trained on, of shape ``(M,)``; none if there were no such images.
    """

    statistics: np.ndarray
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def plain(self) -> dict[str, Any]:
        """Return the sample as plain data for a record: a line of text for each image, so that people can read on."""
        return {
            "statistics": list(STATISTICS),
            "images": [" ".join(f"{value:.8g}" for value in row) for row in self.statistics.round(4)],
            "scores": " ".join(f"{score:g}" for score in self.scores.round(6)),
        }

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Reference | None":
        """Return the sample that a record holds.

        Args:
            content: What :meth:`plain` returned.

        Returns:
            The sample; ``None`` if there is none, or one of statistics that this version does not know.
        """
        if not isinstance(content, Mapping) or content.get("statistics") != list(STATISTICS):
            return None
        try:
            rows = [[float(value) for value in line.split()] for line in content["images"]]
            statistics = np.array(rows, dtype=np.float64).reshape(len(rows), len(STATISTICS))
            return cls(statistics, np.array(content["scores"].split(), dtype=np.float64))
        except (AttributeError, KeyError, TypeError, ValueError):
            return None


def sample(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return at most ``LARGEST`` rows, drawn by a seed.

    Args:
        values: Rows, of shape ``(N, ...)``.
        seed: Decides which.
    """
    if len(values) <= LARGEST:
        return values
    return values[np.sort(np.random.default_rng(seed).choice(len(values), LARGEST, replace=False))]
