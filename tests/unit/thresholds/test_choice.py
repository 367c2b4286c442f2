# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from rd_plugin.thresholds.choice import Measured, choose

SCORES = np.linspace(0.2, 0.6, 199)
GOOD = Measured(SCORES, SCORES / 2)


@pytest.mark.parametrize(("rate", "above"), [(0.01, 1), (0.05, 9), (0.001, 0)])
def test_as_many_good_images_exceed_it_as_in_a_training(rate: float, above: int) -> None:
    choice = choose(rate, GOOD)
    assert int((GOOD.scores > choice.image).sum()) == above
    assert int((GOOD.peaks > choice.pixel).sum()) == above
    assert choice.expected == pytest.approx((above + 1) / 200)
    assert choice.found is None


def test_defects_are_counted_and_change_nothing() -> None:
    defects = Measured(np.array([0.3, 0.7, 0.8]), np.array([0.3, 0.7, 0.8]))
    choice = choose(0.05, GOOD, defects)
    assert choice.found is not None
    assert (choice.found.count, choice.found.total) == (2, 3)
    assert choice.image == choose(0.05, GOOD).image


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0])
def test_rate_out_of_range(rate: float) -> None:
    with pytest.raises(ValueError, match="rate must be a fraction between 0 and 1"):
        choose(rate, GOOD)
