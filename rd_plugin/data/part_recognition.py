# SPDX-License-Identifier: Apache-2.0
"""Which of several parts an image shows, if its path does not name it: the one with the nearest mean features."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Recognizer"]

# A part is as likely as the nearest one if it is at most so much further away.
_EQUALLY_NEAR = 1.2
# Share of the mean variance that is added to each, so that what hardly varies does not decide alone.
_FLOOR = 0.01
_KEY = "features"


@dataclass(frozen=True)
class Recognizer:
    """Recognizes parts by the means of their features.

    The distance of an image is the root of its mean squared difference from a part's means, in units of the standard
    deviation of each feature within parts.

    Args:
        names: Names of the parts.
        means: Mean of each feature of each part's images, of shape ``(P, D)``.
        variances: Variance of each feature within a part, of shape ``(P, D)``.

    Example:
        >>> recognizer = Recognizer(("cap", "screw"), np.array([[0.0], [10.0]]), np.ones((2, 1)))
        >>> recognizer.candidates(np.array([1.0])), recognizer.candidates(np.array([5.1]))
        (('cap',), ('screw', 'cap'))
    """

    names: tuple[str, ...]
    means: np.ndarray
    variances: np.ndarray

    @staticmethod
    def plain(features: np.ndarray) -> dict[str, Any]:
        """Return what a record keeps of a part.

        Args:
            features: Features of its images, of shape ``(N, D)``.
        """
        values = {"means": features.mean(0), "variances": features.var(0)}
        return {_KEY: {name: " ".join(f"{value:.5g}" for value in numbers) for name, numbers in values.items()}}

    @classmethod
    def of(cls, parts: Mapping[str, Mapping[str, Any]]) -> "Recognizer | None":
        """Return the recognizer of a record's parts.

        Args:
            parts: What :meth:`plain` returned, by part.

        Returns:
            The recognizer; ``None`` if a part has no features, as in records of earlier versions.
        """
        if not parts or any(_KEY not in content for content in parts.values()):
            return None
        rows = {
            name: np.array([content[_KEY][name].split() for content in parts.values()], dtype=np.float64)
            for name in ("means", "variances")
        }
        return cls(tuple(parts), **rows)

    def candidates(self, features: np.ndarray) -> tuple[str, ...]:
        """Return the parts that an image may show, the nearest first: one, unless others are about as near.

        Args:
            features: The image's features, of shape ``(D,)``.
        """
        within = self.variances.mean(0)
        within = within + _FLOOR * within.mean()
        distances = np.sqrt((np.square(features - self.means) / within).mean(1))
        order = np.argsort(distances, kind="stable")
        return tuple(self.names[place] for place in order if distances[place] <= _EQUALLY_NEAR * distances[order[0]])
