# SPDX-License-Identifier: Apache-2.0
"""Images unlike the others."""

import cv2
import numpy as np
import pytest

from rd_plugin.drift import STATISTICS, check_outliers, image_statistics
from rd_plugin.drift.outliers import outliers


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """Sixty textures of slightly different brightness."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(60):
        grain = cv2.GaussianBlur(rng.normal(0, 60, (64, 64, 3)), (0, 0), 1.5)
        found.append(np.clip(120 + rng.normal(0, 8) + grain, 0, 255).astype(np.uint8))
    return found


def _notes(images: list[np.ndarray]) -> list[str]:
    return [
        problem.message
        for problem in check_outliers({f"parts/{i}.png": image_statistics(image) for i, image in enumerate(images)})
    ]


def test_images_alike_have_no_outlier(images: list[np.ndarray]) -> None:
    distances, _ = outliers(np.stack([image_statistics(image) for image in images]))
    assert 0.5 < np.median(distances) < 1.5
    assert _notes(images) == []


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (lambda image: np.full_like(image, 255), None),
        (lambda image: np.zeros_like(image), None),
        (lambda image: image // 4, None),
        (lambda image: cv2.GaussianBlur(image, (0, 0), 6), None),
        (lambda image: image // 2 + np.array([90, 0, 0], np.uint8), "red against green"),
    ],
    ids=["white", "black", "dark", "blurred", "red"],
)
def test_unusual_images_are_named(images: list[np.ndarray], change: object, differs: str | None) -> None:
    (note,) = _notes([*images, change(images[0])])
    assert note.startswith("1 of 61 images look unlike the others: 60.png (")
    assert any(f"({name})" in note for name in ([differs] if differs else STATISTICS))


def test_many_are_counted_and_few_images_say_nothing(images: list[np.ndarray]) -> None:
    white = 6 * [np.full_like(images[0], 255)]
    (note,) = _notes([*images, *white])
    assert note.startswith("6 of 66 images")
    assert " and 1 more. " in note
    assert _notes([*images[:10], white[0]]) == []
