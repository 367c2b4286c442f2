# SPDX-License-Identifier: Apache-2.0
"""A sample of normal images that other images are compared with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .appearance import STATISTICS

__all__ = ["LARGEST", "Reference", "sample"]

# Maximum number of images in a sample: enough to detect differences, and few enough for a record.
LARGEST = 256


@dataclass(frozen=True)
class Reference:
    """A sample of normal images.

    Args:
        statistics: Statistics of training images, of shape ``(N, 15)``.
        scores: Scores of normal images that were not used for training, of shape ``(M,)``; empty if there were none.
    """

    statistics: np.ndarray
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def plain(self) -> dict[str, Any]:
        """Return the sample as plain data for a record: a readable line of text for each image."""
        return {
            "statistics": list(STATISTICS),
            "images": [" ".join(f"{value:.8g}" for value in row) for row in self.statistics.round(4)],
            "scores": " ".join(f"{score:g}" for score in self.scores.round(6)),
        }

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Reference | None":
        """Return the sample that a record holds.

        Returns:
            The sample; ``None`` if there is none, or if its statistics are unknown to this version.
        """
        if not isinstance(content, Mapping) or content.get("statistics") != list(STATISTICS):
            return None
        try:
            rows = [[float(value) for value in line.split()] for line in content["images"]]
            statistics = np.array(rows, dtype=np.float64).reshape(len(rows), len(STATISTICS))
            return cls(statistics, np.array(content["scores"].split(), dtype=np.float64))
        except (AttributeError, KeyError, TypeError, ValueError):
            return None


def sample(values: np.ndarray, seed: int = 0, largest: int = LARGEST) -> np.ndarray:
    """Return some rows, drawn at random.

    Args:
        values: Rows, of shape ``(N, ...)``.
        seed: Seed of the draw.
        largest: How many rows at most.
    """
    if len(values) <= largest:
        return values
    return values[np.sort(np.random.default_rng(seed).choice(len(values), largest, replace=False))]
