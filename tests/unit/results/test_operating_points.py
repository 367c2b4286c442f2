# SPDX-License-Identifier: Apache-2.0
"""False alarms and defects found are those counted by hand."""

import math

import pytest
from scipy.stats import beta

from rd_plugin.results import RATES, Share, operating_points

NAN, INF = math.nan, math.inf


def table(*arguments: object, **more: object) -> list[tuple]:
    counts = [
        (point.rate, point.threshold, point.false_alarms, point.defects_found)
        for point in operating_points(*arguments, **more)
    ]
    return [(rate, limit, good and good.count, bad and bad.count) for rate, limit, good, bad in counts]


def test_counts_at_the_threshold_and_at_rates() -> None:
    scores = [*range(1000), 500, 950, 998, 999, 2000]
    labels = [False] * 1000 + [True] * 5
    assert table(scores, labels, threshold=949.5) == [
        (None, 949.5, 50, 4),
        (0.001, 998, 1, 2),
        (0.01, 989, 10, 3),
        (0.05, 949, 50, 4),
        (0.1, 899, 100, 4),
    ]


def test_models_own_labels_count_at_its_threshold() -> None:
    assert table([0.2, 0.5, 0.5], [False, False, True], 0.5, rates=[0.5], anomalous=[False, True, True]) == [
        (None, 0.5, 1, 1),
        (0.5, 0.2, 1, 1),
    ]


def test_few_normal_images_allow_no_false_alarm_at_small_rates() -> None:
    assert table([1, 2, 3, 3, 2.5, 3.5], [False] * 4 + [True] * 2, rates=RATES) == [(rate, 3, 0, 1) for rate in RATES]


def test_rates_are_not_rounded_down() -> None:
    (point,) = operating_points(range(100), [False] * 100, rates=[0.29])
    assert point.false_alarms == Share(29, 100)


@pytest.mark.parametrize("threshold", [None, NAN])
def test_without_a_threshold_only_rates(threshold: float | None) -> None:
    assert [point.rate for point in operating_points([1], [False], threshold)] == list(RATES)


def test_zero_is_a_threshold() -> None:
    assert table([-1, 0, 1, 1], [False, False, False, True], 0.0, rates=()) == [(None, 0.0, 1, 1)]


def test_what_is_not_known_is_none() -> None:
    assert table([1, 2], [False, False], 1.5, rates=[0.1]) == [(None, 1.5, 1, None), (0.1, 2, 0, None)]
    assert table([1, 2], [True, True], 1.5) == [(None, 1.5, None, 1)]
    assert table([], [], 1.5) == [(None, 1.5, None, None)]


def test_scores_that_are_not_numbers_are_above_every_threshold() -> None:
    assert table([NAN, 1, NAN, 2], [False, False, True, True], 5.0, rates=[0.1, 0.5]) == [
        (None, 5.0, 1, 1),
        (0.1, INF, 1, 1),
        (0.5, 1, 1, 2),
    ]


def test_intervals_are_clopper_pearsons() -> None:
    assert Share(3, 120).interval == pytest.approx((beta.ppf(0.025, 3, 118), beta.ppf(0.975, 4, 117)))
    assert Share(0, 10).interval == pytest.approx((0, 1 - 0.025**0.1))
    assert Share(10, 10).interval == pytest.approx((0.025**0.1, 1))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="rates must be at least 0 and below 1, got 10"):
        operating_points([1], [False], rates=[10])
    with pytest.raises(ValueError, match="of one length, got 1 and 2"):
        operating_points([1], [False, True])
