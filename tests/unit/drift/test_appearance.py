# SPDX-License-Identifier: Apache-2.0
"""Images in a few numbers."""

import cv2
import numpy as np
import pytest

from rd_plugin.drift import STATISTICS, image_statistics


@pytest.fixture
def texture() -> np.ndarray:
    """A wavy texture with grain, brighter to the right."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:120, :160]
    level = 90 + 0.3 * columns + 30 * np.sin(rows / 5) + rng.normal(0, 4, rows.shape)
    return np.clip(level[..., None] * [1.0, 0.9, 0.8], 0, 255).astype(np.uint8)


def told(image: np.ndarray) -> dict[str, float]:
    return dict(zip(STATISTICS, image_statistics(image).tolist(), strict=True))


def test_each_change_is_detected_by_its_number(texture: np.ndarray) -> None:
    before = told(texture)
    darker = told((0.8 * texture).astype(np.uint8))
    assert darker["brightness"] == pytest.approx(0.8 * before["brightness"], abs=1)
    assert darker["dark tones"] < before["dark tones"]
    blurred = told(cv2.GaussianBlur(texture, (0, 0), 2))
    assert blurred["sharpness"] < before["sharpness"] - 1
    assert blurred["noise"] < before["noise"] - 1
    assert abs(blurred["brightness"] - before["brightness"]) < 1
    assert told(texture[..., ::-1].copy())["red against green"] < 0 < before["red against green"]
    mirrored = told(texture[:, ::-1].copy())
    assert mirrored["brightness from left to right"] == pytest.approx(-before["brightness from left to right"], abs=1)
    turned = told(np.rot90(texture).copy())
    edges = "upright edges against level ones"
    assert turned[edges] == pytest.approx(-before[edges], abs=1e-3)
    white = texture.copy()
    white[:12] = 255
    assert told(white)["share of white"] == pytest.approx(0.1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 5), (2, 4000), (4000, 2)])
def test_images_of_any_shape_have_numbers(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert np.isfinite(image_statistics(pixels)).all()
    assert np.isfinite(image_statistics(np.zeros((*shape, 3), np.uint8))).all()


def test_large_images_are_looked_at_in_their_own_size(texture: np.ndarray) -> None:
    """Bands of a large image are as sharp as the whole."""
    large = np.tile(texture, (12, 12, 1))
    blurred = cv2.GaussianBlur(large, (0, 0), 2)
    small, whole = told(texture), told(large)
    for name in ("sharpness", "noise", "contrast", "middle tones"):
        assert whole[name] == pytest.approx(small[name], abs=0.05 * abs(small[name]))
    assert told(blurred)["sharpness"] < whole["sharpness"] - 1
