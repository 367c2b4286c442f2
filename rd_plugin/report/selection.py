# SPDX-License-Identifier: Apache-2.0
"""The images that a report shows, of any number of results in any order."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from rd_plugin.results import InspectionResult

__all__ = ["Selection", "rank"]

# Up to so many images all are shown; of more, the worst and a sample of all, so many of each.
_ALL, _SOME = 10_000, 2000
# Errors that are kept, of which a page lists the first.
_ERRORS = 500


class Selection:
    """All results, or the 2,000 with the highest scores and a random sample of 2,000; all are counted.

    What is kept does not depend on the order of the results, and its memory does not grow with their number. Of several
    results of one image the last one counts, up to 10,000 images.

    Args:
        results: The first results.

    Attributes:
        threshold: The threshold of the last result that states one; 0.5, the normalized threshold, if none does.
        verdicts: Number of images by verdict; empty if all are shown.
        scores: Number of images by score, rounded to three digits; empty if all are shown.
    """

    def __init__(self, results: Iterable[InspectionResult] = ()) -> None:
        self.threshold = 0.5
        self.verdicts = Counter[str]()
        self.scores = Counter[float]()
        self._all: dict[str, InspectionResult] | None = {}
        self._worst: list[InspectionResult] = []
        self._sample: list[InspectionResult] = []
        self._errors: list[InspectionResult] = []
        for result in results:
            self.add(result)

    def add(self, result: InspectionResult) -> None:
        """Add a result."""
        if result.threshold is not None:
            self.threshold = result.threshold
        if self._all is None:
            self._select(result)
            return
        self._all[result.path] = result
        if len(self._all) > _ALL:
            for known in self._all.values():
                self._select(known)
            self._all = None

    @property
    def shown(self) -> list[InspectionResult]:
        """The results that are shown, each once."""
        if self._all is not None:
            return list(self._all.values())
        kept = [*_first(self._worst, rank, _SOME), *_first(self._sample, _draw, _SOME)]
        return list({result.path: result for result in kept}.values())

    @property
    def errors(self) -> list[InspectionResult]:
        """The images that could not be inspected: all, or the first 500 by name."""
        if self._all is not None:
            return [result for result in self._all.values() if result.verdict == "error"]
        return _first(self._errors, _name, _ERRORS)

    def _select(self, result: InspectionResult) -> None:
        """Count a result, and keep it if it is one of the worst, or drawn."""
        self.verdicts[result.verdict] += 1
        if result.score is not None:
            self.scores[float(f"{result.score:.3g}")] += 1
        self._sample = _kept(self._sample, result, _draw, _SOME)
        if result.verdict == "error":
            self._errors = _kept(self._errors, result, _name, _ERRORS)
        else:
            self._worst = _kept(self._worst, result, rank, _SOME)


def rank(result: InspectionResult) -> tuple[bool, float, str]:
    """Return a sorting key: first scores that are NaN, then the highest scores, and errors last."""
    return result.verdict == "error", -math.inf if result.score is None else -result.score, result.path


def _name(result: InspectionResult) -> str:
    return result.path


def _draw(result: InspectionResult) -> bytes:
    """A random number of an image, the same whenever it is drawn."""
    return hashlib.blake2b(result.path.encode(errors="backslashreplace"), digest_size=8).digest()


Key = Callable[[InspectionResult], Any]


def _kept(kept: list[InspectionResult], result: InspectionResult, key: Key, count: int) -> list[InspectionResult]:
    """Results with another one, sorted and cut when there are twice too many."""
    kept.append(result)
    return kept if len(kept) < 2 * count else _first(kept, key, count)


def _first(results: list[InspectionResult], key: Key, count: int) -> list[InspectionResult]:
    return sorted(results, key=key)[:count]
