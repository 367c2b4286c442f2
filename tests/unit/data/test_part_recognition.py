# SPDX-License-Identifier: Apache-2.0
"""Which of several parts an image shows, by its features."""

import numpy as np

from rd_plugin.data.part_recognition import Recognizer


def parts(spread: float = 1.0) -> dict[str, dict]:
    """Two parts, 10 apart in the first of three features; the last never varies."""
    rng = np.random.default_rng(0)
    found = {}
    for name, centre in (("cap", 0.0), ("screw", 10.0)):
        features = np.zeros((50, 3))
        features[:, :2] = spread * rng.standard_normal((50, 2))
        features[:, 0] += centre
        found[name] = Recognizer.plain(features)
    return found


def test_the_nearest_part_is_found() -> None:
    recognizer = Recognizer.of(parts())
    assert recognizer is not None
    assert recognizer.candidates(np.array([1.0, 0.0, 0.0])) == ("cap",)
    assert recognizer.candidates(np.array([9.0, 0.0, 0.0])) == ("screw",)


def test_between_two_parts_it_is_unsure() -> None:
    recognizer = Recognizer.of(parts())
    assert recognizer is not None
    assert recognizer.candidates(np.array([4.9, 0.0, 0.0])) == ("cap", "screw")
    assert recognizer.candidates(np.array([5.3, 0.0, 0.0])) == ("screw", "cap")


def test_a_feature_that_varies_is_not_what_decides() -> None:
    recognizer = Recognizer.of(parts(spread=1.0))
    assert recognizer is not None
    # Far away in a direction that says nothing: both are as near.
    assert len(recognizer.candidates(np.array([1.0, 100.0, 0.0]))) == 2
    # A little of what never varied in training does not hide the rest.
    assert recognizer.candidates(np.array([0.0, 0.0, 0.1])) == ("cap",)


def test_records_without_features_recognize_nothing() -> None:
    known = parts()
    assert Recognizer.of({}) is None
    assert Recognizer.of({**known, "screw": {"reference": {}}}) is None
