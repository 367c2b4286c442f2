# SPDX-License-Identifier: Apache-2.0
"""Which of several models to use, and how certain that is with the given images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .auroc import area_under_roc
from .trial import Trial

__all__ = ["Recommendation", "compare"]

_RESAMPLINGS = 1000
# Share of resamplings in which one model must lead another to be called better.
_SURE = 0.95
# Good images and defects: resamplings of fewer differ too little to say how sure a lead is.
_ENOUGH = 20


@dataclass(frozen=True)
class Recommendation:
    """What the comparison says.

    Args:
        auroc: Image AUROC by model, the mean of all parts, with its 95 % interval: value, lower and upper bound.
        best: The model with the highest AUROC.
        equal: Other models that do not differ from it.
        chosen: The fastest of these and the best.
        lead: Share of resamplings in which the best leads the model that comes closest; 1 if there is no other.
        tested: Number of good images and of defects in the tests of all parts.
    """

    auroc: dict[str, tuple[float, float, float]]
    best: str
    equal: tuple[str, ...]
    chosen: str
    lead: float
    tested: tuple[int, int]

    def __str__(self) -> str:
        """The recommendation in words."""
        basis = f"of {_RESAMPLINGS} resamplings of the test images"
        if len(self.auroc) == 1:
            return f"{self.chosen} is the only model; there is nothing to compare it with."
        if min(self.tested) < _ENOUGH:
            good, defects = self.tested
            return (
                f"Take {self.best}, which has the highest AUROC. This is not certain: {good} good images and {defects} "
                f"defects are too few to compare models; at least {_ENOUGH} of each are needed."
            )
        if not self.equal:
            return (
                f"Take {self.chosen}. It is the most accurate: it leads each other model in at least "
                f"{100 * _SURE:.0f} % {basis}. This is certain for images like these and one training of each."
            )
        others = ", ".join([self.best, *self.equal])
        why = "the most accurate and the fastest" if self.chosen == self.best else "the fastest"
        return (
            f"Take {self.chosen}, {why} of those that these images cannot distinguish: {others}. This is not certain: "
            f"{self.best} has the highest AUROC, but leads one of them in only {100 * self.lead:.0f} % {basis}. More "
            "test images may decide."
        )


def compare(trials: Sequence[Trial]) -> Recommendation:
    """Compare models by the mean AUROC of all parts, and recommend the fastest of the best.

    Test images are resampled with replacement, good ones and defects separately, the same for all models (a paired
    bootstrap; Efron and Tibshirani 1993, chapter 16). It does not cover the effect of another seed of a training.

    Args:
        trials: Trials of each model on the same parts and the same test images.

    Raises:
        ValueError: If models were tried on different images, or on none.
    """
    models = list(dict.fromkeys(trial.model for trial in trials))
    parts = list(dict.fromkeys(trial.part for trial in trials))
    known = {(trial.model, trial.part): trial for trial in trials}
    if not trials or len(known) != len(trials) or len(known) != len(models) * len(parts):
        msg = "trials must be one of each model on each part."
        raise ValueError(msg)
    rng, tested = np.random.default_rng(0), np.zeros(2, int)
    value, drawn = np.zeros(len(models)), np.zeros((_RESAMPLINGS, len(models)))
    for part in parts:
        truths = [known[model, part].defective for model in models]
        if any(not np.array_equal(truth, truths[0]) for truth in truths):
            msg = f"models were tried on different images of {part!r}."
            raise ValueError(msg)
        scores = np.stack([known[model, part].scores for model in models])
        value += area_under_roc(scores, truths[0]) / len(parts)
        groups = [np.flatnonzero(truths[0] == defective) for defective in (False, True)]
        tested += [len(group) for group in groups]
        for row in drawn:
            some = np.concatenate([rng.choice(group, len(group)) for group in groups])
            row += area_under_roc(scores[:, some], truths[0][some]) / len(parts)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    order = np.argsort(-value, kind="stable")
    best = int(order[0])
    # A tie of two models in a resampling is half a lead.
    leads = (drawn[:, [best]] > drawn).mean(0) + (drawn[:, [best]] == drawn).mean(0) / 2
    equal = [int(index) for index in order[1:] if leads[index] < _SURE]
    speed = {model: max(known[model, part].milliseconds for part in parts) for model in models}
    few = min(tested) < _ENOUGH
    chosen = models[best] if few else min((models[index] for index in (best, *equal)), key=speed.__getitem__)
    return Recommendation(
        {models[i]: (float(value[i]), float(low[i]), float(high[i])) for i in order},
        models[best],
        tuple(models[index] for index in equal),
        chosen,
        float(leads[order[1:]].min(initial=1)),
        (int(tested[0]), int(tested[1])),
    )
