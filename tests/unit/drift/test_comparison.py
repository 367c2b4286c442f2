# SPDX-License-Identifier: Apache-2.0
"""Tests of two samples."""

import numpy as np
import pytest

from rd_plugin.drift import energy_test, higher_scores_test


@pytest.mark.parametrize(("known", "seen"), [(12, 25), (100, 30)])
def test_p_values_are_honest_for_any_distribution(known: int, seen: int) -> None:
    """Skewed, with outliers, ties and a column that never varies; also with a reference that is smaller."""
    rng = np.random.default_rng(0)
    found = []
    for trial in range(200):
        values = rng.exponential(size=(known + seen, 6)) ** 3
        values[:, 1] += values[:, 0]
        values[:, 2] = rng.integers(0, 2, len(values))
        values[:, 3] = 0.25
        found.append(energy_test(values[:known], values[known:], seed=trial))
    # Of 200, three standard deviations more than are to be expected.
    for level, most in ((0.05, 19), (0.2, 57)):
        assert sum(value <= level for value in found) <= most
    assert np.mean(found) == pytest.approx(0.5, abs=0.07)


def test_differences_are_found() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(150, 5))
    for change in (values[100:] + np.eye(5)[0], 2 * values[100:]):
        assert energy_test(values[:100], change) < 1e-3
    # What never varied among good images and does now.
    fixed = values * [1, 1, 1, 1, 0]
    assert energy_test(fixed[:100], fixed[100:] + np.eye(5)[4]) < 1e-6


def test_what_is_rarer_than_can_be_counted_still_has_an_order() -> None:
    values = np.random.default_rng(0).normal(size=(150, 5))
    near, far = (energy_test(values[:100], values[100:] + shift) for shift in (1.0, 3.0))
    assert far < near < 1e-9
    assert energy_test(values[:100], values[100:] + 1.0, seed=1) < 1e-9


def test_equal_images_are_alike() -> None:
    assert energy_test(np.ones((20, 3)), np.ones((25, 3))) == 1


def test_higher_scores_alone_count() -> None:
    scores = np.random.default_rng(0).normal(size=90)
    assert higher_scores_test(scores[:60], scores[60:] + 1) < 1e-3
    assert higher_scores_test(scores[:60], scores[60:] - 1) > 0.99
    assert higher_scores_test(np.zeros(20), np.zeros(25)) > 0.49
