# SPDX-License-Identifier: Apache-2.0
"""Which model to take, and how sure that is."""

import numpy as np
import pytest
from torch import from_numpy
from torchmetrics.functional.classification import binary_auroc

from rd_plugin.comparison import Trial, compare

DEFECTIVE = np.arange(80) % 2 == 1


def trial(model: str, gain: float, milliseconds: float, part: str = "cap", count: int = 80) -> Trial:
    """A trial whose scores of defects are higher by ``gain`` standard deviations."""
    rng = np.random.default_rng(sum(map(ord, model + part)))
    defective = DEFECTIVE[:count]
    scores = rng.normal(size=count) + gain * defective
    kinds = tuple("scratch" if bad else "" for bad in defective)
    return Trial(model, part, scores, defective, kinds, 2.0, 99, milliseconds, 10**6, 1.0)


def test_auroc_is_torchmetrics() -> None:
    trials = [trial("A", 1.0, 1.0), trial("A", 0.5, 1.0, "nut")]
    expected = [
        float(binary_auroc(from_numpy(1 / (1 + np.exp(-one.scores))), from_numpy(one.defective).int()))
        for one in trials
    ]
    value, low, high = compare(trials).auroc["A"]
    assert value == pytest.approx(np.mean(expected), abs=1e-6)
    assert low < value < high


def test_a_clear_lead_is_sure_whatever_it_costs() -> None:
    found = compare([trial("fast", 0.2, 1.0), trial("good", 4.0, 90.0), trial("other", 0.5, 5.0)])
    assert (found.best, found.chosen, found.equal) == ("good", "good", ())
    assert next(iter(found.auroc)) == "good"
    assert "it leads each other model in at least 95 % of 1000 resamplings" in str(found)
    assert "This is certain" in str(found)


def test_of_models_that_cannot_be_told_apart_the_fastest_is_taken() -> None:
    found = compare([trial("slow", 2.0, 90.0), trial("fast", 2.0, 5.0), trial("bad", 0.0, 1.0)])
    assert found.chosen == "fast"
    assert {found.best, *found.equal} == {"slow", "fast"}
    assert 0.5 <= found.lead < 0.95
    assert "This is not certain" in str(found)


def test_few_images_make_nothing_sure() -> None:
    found = compare([trial("fast", 0.0, 1.0, count=38), trial("good", 40.0, 90.0, count=38)])
    assert (found.best, found.lead, found.tested) == ("good", 1.0, (19, 19))
    assert found.chosen == "good"
    assert "Take good, which has the highest AUROC. This is not certain: 19 good images and 19 defects" in str(found)
    parts = [trial(name, gain, 1.0, part, 38) for part in ("cap", "nut") for name, gain in (("A", 0.0), ("B", 40.0))]
    assert "This is certain" in str(compare(parts))


def test_one_model_is_compared_with_nothing() -> None:
    assert str(compare([trial("A", 1.0, 1.0)])) == "A is the only model; there is nothing to compare it with."


def test_models_must_have_seen_the_same_images() -> None:
    with pytest.raises(ValueError, match="one of each model on each part"):
        compare([trial("A", 1.0, 1.0), trial("B", 1.0, 1.0, "nut")])
    with pytest.raises(ValueError, match="models were tried on different images of 'cap'"):
        compare([trial("A", 1.0, 1.0), trial("B", 1.0, 1.0, count=60)])
