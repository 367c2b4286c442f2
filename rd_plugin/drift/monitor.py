# SPDX-License-Identifier: Apache-2.0
"""Compare a run of images with a reference while they arrive."""

import logging
from collections import deque
from dataclasses import dataclass

import numpy as np

from .appearance import STATISTICS
from .comparison import energy_test, higher_scores_test, normal_scores
from .reference import LARGEST, Reference

__all__ = ["FALSE_ALARM_RATE", "FEWEST", "DriftMonitor", "Look"]

logger = logging.getLogger(__name__)

# Maximum share of runs that detect drift although their images come from the reference's distribution.
FALSE_ALARM_RATE = 0.05
# Minimum number of images in a comparison, and with a sliding window, the interval between comparisons.
FEWEST = 25
# Minimum number of images in a reference.
_FEWEST_KNOWN = 10
# How many comparisons are kept; a server may make one every few seconds for months.
_KEPT_LOOKS = 1000


@dataclass(frozen=True)
class Look:
    """One comparison.

    Args:
        drifted: Whether the images differ from the reference's.
        inspected: Number of images inspected up to this comparison.
        level: Allowed probability of a false alarm in this comparison.
        p_statistics: p-value of the images' statistics; ``None`` if they were not compared.
        p_scores: p-value of the test for higher scores; ``None`` likewise.
        reason: What differs most; empty if no drift was detected.
    """

    drifted: bool
    inspected: int
    level: float
    p_statistics: float | None
    p_scores: float | None
    reason: str = ""


class DriftMonitor:
    """Compare images with a reference: all images of a run, or the last ones.

    A run is compared after 25, 50, 100, 200, ... images and at its end; from 256 images on, a random sample of 256 is
    used. A window is compared after every 25 images and at the end. The j-th comparison has a false-alarm probability
    of at most 0.05 / (j (j + 1)), half of it for the statistics and half for the scores: for a run of any length, these
    add up to at most 0.05.

    Args:
        reference: Sample of normal images.
        window: Number of last images that are compared, at least 25; ``None`` for all images of the run.

    Attributes:
        looks: The last 1,000 comparisons.

    Raises:
        ValueError: If the window is too small.
    """

    def __init__(self, reference: Reference, window: int | None = None) -> None:
        if window is not None and window < FEWEST:
            msg = f"window must be at least {FEWEST}, got {window}."
            raise ValueError(msg)
        self.reference = reference
        self.window = window
        self.looks: deque[Look] = deque(maxlen=_KEPT_LOOKS)
        self._first_alarm: Look | None = None
        self._looked = self._alarms = 0
        self._inspected = self._compared = self._spent = 0
        self._kept: list[tuple[np.ndarray, float]] = []
        self._taken = 0
        self._rng = np.random.default_rng(0)

    @property
    def drifted(self) -> bool | None:
        """Result of the last comparison; ``None`` if there was none yet."""
        return self.looks[-1].drifted if self.looks else None

    @property
    def alarmed(self) -> bool:
        """Whether any comparison detected drift."""
        return self._first_alarm is not None

    def go_on(self, inspected: int) -> None:
        """Continue a run that was stopped: its comparisons have used their part of the false-alarm rate.

        Args:
            inspected: Number of images that it had inspected, which are not compared again.
        """
        self._inspected = self._compared = inspected
        # One more comparison for its end.
        self._spent = self._planned(inspected) + (inspected >= FEWEST)

    def add(self, statistics: np.ndarray, score: float) -> bool | None:
        """Add an image, and compare if a comparison is due.

        Returns:
            Whether drift is currently detected; ``None`` while there are too few images.
        """
        self._inspected += 1
        self._keep((statistics, score))
        # After a run is resumed there may be too few images at first.
        if self._planned(self._inspected) > self._planned(self._compared) and len(self._kept) >= FEWEST:
            self._look()
        return self.drifted

    def finish(self) -> bool | None:
        """Compare once more if images were added since the last comparison.

        Returns:
            Whether drift is detected; ``None`` if there were too few images.
        """
        if self._inspected > self._compared and len(self._kept) >= FEWEST:
            self._look()
        return self.drifted

    def summary(self) -> str:
        """Return the result of the run as a sentence."""
        if not self._looked:
            return f"Drift: unknown, since detection needs {FEWEST} images and there were {len(self._kept)}."
        made = _counted(self._looked, "comparison")
        if (first := self._first_alarm) is None:
            return f"Drift: not detected in {made} of {self._inspected} images."
        return (
            f"Drift: detected, the images differ from the training images ({self._alarms} of {made}, first after "
            f"{first.inspected} images: {first.reason})."
        )

    def _planned(self, inspected: int) -> int:
        """Number of comparisons in a run of ``inspected`` images, without the one at its end."""
        if self.window is not None:
            return inspected // FEWEST
        return (inspected // FEWEST).bit_length()

    def _keep(self, image: tuple[np.ndarray, float]) -> None:
        """Keep the last images, or a random sample in which each image of the run is equally likely."""
        self._taken += 1
        if self.window is not None:
            self._kept = [*self._kept[-self.window + 1 :], image]
        elif len(self._kept) < LARGEST:
            self._kept.append(image)
        elif (place := int(self._rng.integers(self._taken))) < LARGEST:
            self._kept[place] = image

    def _look(self) -> None:
        """Compare, and log if drift begins or ends."""
        self._compared = self._inspected
        self._spent += 1
        level = FALSE_ALARM_RATE / (self._spent * (self._spent + 1))
        statistics = np.stack([image[0] for image in self._kept])
        scores = np.array([image[1] for image in self._kept])
        p_statistics = p_scores = None
        if len(self.reference.statistics) >= _FEWEST_KNOWN:
            p_statistics = energy_test(self.reference.statistics, statistics, seed=self._spent)
        if len(self.reference.scores) >= _FEWEST_KNOWN:
            p_scores = higher_scores_test(self.reference.scores, scores)
        # Each of the two tests may use half of the level.
        reasons = []
        if p_statistics is not None and p_statistics <= level / 2:
            reasons.append(self._largest_difference(statistics))
        if p_scores is not None and p_scores <= level / 2:
            reasons.append("scores are higher")
        before = self.drifted
        look = Look(bool(reasons), self._inspected, level, p_statistics, p_scores, ", ".join(reasons))
        self.looks.append(look)
        self._looked += 1
        if reasons:
            self._alarms += 1
            self._first_alarm = self._first_alarm or look
        if reasons and not before:
            logger.warning(
                "Drift detected after %d images: they differ from the training images (%s).",
                self._inspected,
                look.reason,
            )
        elif before and not reasons:
            logger.info("Drift is no longer detected after %d images.", self._inspected)

    def _largest_difference(self, statistics: np.ndarray) -> str:
        """Name the statistic that differs most."""
        known = len(self.reference.statistics)
        ranked = normal_scores(np.concatenate([self.reference.statistics, statistics]))
        difference = ranked[known:].mean(0) - ranked[:known].mean(0)
        most = int(np.abs(difference).argmax())
        return f"{STATISTICS[most]}: {'higher' if difference[most] > 0 else 'lower'}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"
