# SPDX-License-Identifier: Apache-2.0
"""The sample in a record."""

import json

import numpy as np
import pytest

from rd_plugin.drift import STATISTICS, Reference, image_statistics
from rd_plugin.drift.reference import LARGEST, sample


@pytest.fixture
def reference() -> Reference:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (LARGEST, 16, 16, 3), dtype=np.uint8)
    return Reference(np.stack([image_statistics(image) for image in images]), rng.random(LARGEST).round(6))


def test_what_is_kept_is_what_was_measured(reference: Reference) -> None:
    """To the last digit: images that are kept and images that come in must not differ by rounding."""
    text = json.dumps(reference.plain())
    assert len(text) < 64 * 1024
    read = Reference.of(json.loads(text))
    assert read is not None
    np.testing.assert_array_equal(read.statistics, reference.statistics)
    np.testing.assert_array_equal(read.scores, reference.scores)


def test_sample_without_images_or_scores() -> None:
    read = Reference.of(Reference(np.zeros((0, len(STATISTICS)))).plain())
    assert read is not None
    assert read.statistics.shape == (0, len(STATISTICS))
    assert len(read.scores) == 0


def test_what_is_no_sample(reference: Reference) -> None:
    plain = reference.plain()
    for content in (
        {},
        None,
        "text",
        plain | {"statistics": ["colour of the sky"]},
        plain | {"images": ["1 2 3"]},
        plain | {"images": None},
        plain | {"scores": "high"},
        {"statistics": list(STATISTICS)},
    ):
        assert Reference.of(content) is None


def test_sample_is_bounded_and_repeatable() -> None:
    values = np.arange(1000)
    drawn = sample(values)
    assert len(set(drawn.tolist())) == LARGEST
    np.testing.assert_array_equal(drawn, sample(values))
    np.testing.assert_array_equal(sample(values[:10]), values[:10])
