# SPDX-License-Identifier: Apache-2.0
"""A run of images compared with a reference while they come in."""

import logging
from dataclasses import dataclass

import numpy as np

from .appearance import STATISTICS
from .comparison import energy_test, higher_scores_test, normal_scores
from .reference import LARGEST, Reference

__all__ = ["FALSE_ALARM_RATE", "FEWEST", "DriftMonitor", "Look"]

logger = logging.getLogger(__name__)

# Share of runs, at most, that detect drift although their images come from the reference's distribution.
FALSE_ALARM_RATE = 0.05
# Images that a comparison takes at least, and in a window that slides, until the next.
FEWEST = 25
# Images of a reference that are enough to compare with.
_FEWEST_KNOWN = 10


@dataclass(frozen=True)
class Look:
    """One comparison.

    Args:
        drifted: Whether the images differ from the reference's.
        inspected: How many images the run had inspected by then.
        level: Probability of a false alarm that this comparison was allowed.
        p_statistics: p-value of the images' statistics; ``None`` if they were not compared.
        p_scores: p-value of their scores being higher; ``None`` likewise.
        reason: What differs most; empty if no drift was detected.
    """

    drifted: bool
    inspected: int
    level: float
    p_statistics: float | None
    p_scores: float | None
    reason: str = ""


class DriftMonitor:
    """Compares images with a reference: all of a run, or the last ones.

    A run is compared after 25, 50, 100, 200, ... images and at its end; from 256 on by a random sample of so many.
    A window is compared after every 25 images and at the end. The j-th comparison may alarm falsely with a probability
    of 0.05 / (j (j + 1)), half of it for the statistics and half for the scores: however long a run lasts, these
    add up to 0.05.

    Args:
        reference: Good images.
        window: How many of the last images are compared, at least 25; ``None`` for all of the run.

    Attributes:
        looks: All comparisons.

    Raises:
        ValueError: If the window is too small.
    """

    def __init__(self, reference: Reference, window: int | None = None) -> None:
        if window is not None and window < FEWEST:
            msg = f"window must be at least {FEWEST}, got {window}."
            raise ValueError(msg)
        self.reference = reference
        self.window = window
        self.looks: list[Look] = []
        self._inspected = self._compared = self._spent = 0
        self._kept: list[tuple[np.ndarray, float]] = []
        self._taken = 0
        self._rng = np.random.default_rng(0)

    @property
    def drifted(self) -> bool | None:
        """What the last comparison said; ``None`` if there was none yet."""
        return self.looks[-1].drifted if self.looks else None

    @property
    def alarmed(self) -> bool:
        """Whether any comparison detected drift."""
        return any(look.drifted for look in self.looks)

    def go_on(self, inspected: int) -> None:
        """Go on with a run that was stopped: its comparisons have used up their share of false alarms.

        Args:
            inspected: How many images it had inspected, which are not known any more and are not compared again.
        """
        self._inspected = self._compared = inspected
        # One more for its end.
        self._spent = self._planned(inspected) + (inspected >= FEWEST)

    def add(self, statistics: np.ndarray, score: float) -> bool | None:
        """Take an image, and compare if it is time to.

        Args:
            statistics: What :func:`~rd_plugin.drift.image_statistics` says of it.
            score: Its anomaly score.

        Returns:
            Whether drift is detected by now; ``None`` as long as there are too few images.
        """
        self._inspected += 1
        self._keep((statistics, score))
        # After a resumption there may be too few at first.
        if self._planned(self._inspected) > self._planned(self._compared) and len(self._kept) >= FEWEST:
            self._look()
        return self.drifted

    def finish(self) -> bool | None:
        """Compare once more if images have come since the last time.

        Returns:
            Whether drift is detected; ``None`` if there were too few images.
        """
        if self._inspected > self._compared and len(self._kept) >= FEWEST:
            self._look()
        return self.drifted

    def summary(self) -> str:
        """Say in a sentence what was found."""
        if not self.looks:
            return f"Drift: unknown, since it takes {FEWEST} images and there were {len(self._kept)}."
        alarms = [look for look in self.looks if look.drifted]
        if not alarms:
            return f"Drift: not detected in {_counted(len(self.looks), 'comparison')} of {self._inspected} images."
        return (
            f"Drift: detected, the images differ from the training images ({len(alarms)} of "
            f"{_counted(len(self.looks), 'comparison')}, first after {alarms[0].inspected} images: {alarms[0].reason})."
        )

    def _planned(self, inspected: int) -> int:
        """How many comparisons there are in a run until so many images were inspected, without that at its end."""
        if self.window is not None:
            return inspected // FEWEST
        return (inspected // FEWEST).bit_length()

    def _keep(self, image: tuple[np.ndarray, float]) -> None:
        """Keep the last images, or a sample in which each image of the run is as likely as any other."""
        self._taken += 1
        if self.window is not None:
            self._kept = [*self._kept[-self.window + 1 :], image]
        elif len(self._kept) < LARGEST:
            self._kept.append(image)
        elif (place := int(self._rng.integers(self._taken))) < LARGEST:
            self._kept[place] = image

    def _look(self) -> None:
        """Compare, and log it if drift begins or ends."""
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
        # Each of the two may use half, so that together they keep to the level.
        reasons = []
        if p_statistics is not None and p_statistics <= level / 2:
            reasons.append(self._largest_difference(statistics))
        if p_scores is not None and p_scores <= level / 2:
            reasons.append("scores are higher")
        before = self.drifted
        self.looks.append(Look(bool(reasons), self._inspected, level, p_statistics, p_scores, ", ".join(reasons)))
        if reasons and not before:
            logger.warning(
                "Drift detected after %d images: they differ from the training images (%s).",
                self._inspected,
                self.looks[-1].reason,
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
