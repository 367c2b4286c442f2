# SPDX-License-Identifier: Apache-2.0
"""The Python face, with a stand-in for the model."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rd_plugin.inspection import Inspector, Judge, Prediction, Region, Source


class Brightest(Judge):
    """Scores an image by its brightest pixel, and keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[np.ndarray] = []
        self.record_id = "0a1b"

    def judge(self, image: np.ndarray) -> Prediction:
        self.shown.append(image)
        level = image.max(-1) / 255
        return Prediction(bool(level.max() > 0.5), float(level.max()), level, level > 0.5, 2.0)


@pytest.fixture
def pixels() -> np.ndarray:
    """Dark pixels with a bright corner."""
    pixels = np.full((6, 8, 3), 40, np.uint8)
    pixels[4:, 6:] = 255
    return pixels


def test_frames_of_a_camera(pixels: np.ndarray) -> None:
    model = Brightest()
    inspector = Inspector(model)
    for frame in (pixels, pixels[..., 0], pixels[..., :1], pixels[::-1][::-1]):
        row = inspector.judge(frame, "frame")
        assert (row.path, row.verdict, row.score, row.threshold, row.model) == ("frame", "anomalous", 1.0, 0.5, "0a1b")
        assert row.boxes == (Region(6, 4, 2, 2, 4, 1.0),)
        assert row.milliseconds == 2.0
        assert row.picture is not None
        np.testing.assert_array_equal(model.shown[-1], pixels)


@pytest.mark.parametrize(
    ("frame", "error", "expected"),
    [
        ("frame.png", TypeError, "image must be a numpy array of uint8, got str"),
        (np.zeros((4, 4, 3)), TypeError, "image must be a numpy array of uint8, got float64"),
        (np.zeros((4, 4), np.uint16), TypeError, "got uint16"),
        (np.zeros((3, 4, 4), np.uint8), ValueError, r"shape \(H, W\), \(H, W, 1\) or \(H, W, 3\), got \(3, 4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), ValueError, r"got \(4, 4, 4\)"),
        (np.zeros((0, 4), np.uint8), ValueError, r"got \(0, 4\)"),
        (np.zeros(4, np.uint8), ValueError, r"got \(4,\)"),
    ],
)
def test_what_is_no_frame(frame: object, error: type[Exception], expected: str) -> None:
    with pytest.raises(error, match=expected):
        Inspector(Brightest()).judge(frame)


def test_boxes_are_in_the_files_pixels_where_the_model_crops() -> None:
    """The model sees the middle of the image alone, at half its size."""

    class Middle(Brightest):
        def judge(self, image: np.ndarray) -> Prediction:
            return super().judge(image[10:30:2, 20:60:2])

    model = Middle()
    model.record = {"crop": [["resize", [20, 40], None], ["crop", [10, 20]]]}
    pixels = np.full((40, 80, 3), 40, np.uint8)
    pixels[14:20, 40:50] = 255
    row = Inspector(model).judge(pixels)
    assert row.boxes == (Region(40, 14, 10, 6, 60, 1.0),)
    assert row.picture is not None
    assert row.picture.anomaly_map is not None
    assert row.picture.anomaly_map.shape == (20, 40)


def test_frames_of_a_size_that_the_model_does_not_take(pixels: np.ndarray) -> None:
    model = Brightest()
    model.image_size = (8, 6)
    with pytest.raises(ValueError, match="the image has 8 x 6 pixels, the model takes 6 x 8 only"):
        Inspector(model).judge(pixels)


def test_arguments_out_of_range() -> None:
    for name, value in (("workers", 0), ("threads", -1), ("multi_frame", "last"), ("max_pixels", 0)):
        with pytest.raises(ValueError, match=name):
            Inspector(Brightest(), **{name: value})


def test_files_in_three_lines(pixels: np.ndarray, tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "deep.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    Image.fromarray(pixels[..., 0].astype(np.uint16) << 8).save(tmp_path / "deep.png")
    inspector = Inspector(Brightest(), workers=2)
    rows = list(inspector(tmp_path))
    assert [(Path(row.path).name, row.verdict) for row in rows] == [
        ("a.png", "anomalous"),
        ("b.png", "anomalous"),
        ("deep.png", "not judged"),
    ]
    assert all(row.picture is None for row in rows)
    (row,) = inspector([tmp_path / "a.png"], pictures=True)
    assert row.picture is not None
    np.testing.assert_array_equal(row.picture.image, pixels)
    assert [row.path for row in inspector(str(tmp_path / "*.png"))] == [row.path for row in rows]


def test_what_is_done_with_each_comes_before_its_row(pixels: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    seen = []
    sources = [Source(str(tmp_path / "a.png")), Source("none", "no file fits the pattern.")]
    for row in Inspector(Brightest()).rows(sources, each=[lambda row: seen.append((row.path, row.picture is None))]):
        assert row.path in dict(seen)
        assert row.picture is None
    assert sorted(without for _, without in seen) == [False, True]


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1"])
def test_files_are_read_as_the_engine_reads_them(pixels: np.ndarray, tmp_path: Path, mode: str) -> None:
    from anomalib.data.utils import read_image

    path = tmp_path / "a.tif"
    Image.fromarray(pixels).convert(mode).save(path)
    model = Brightest()
    list(Inspector(model)(path))
    np.testing.assert_array_equal(model.shown[0], np.round(255 * read_image(path)))
