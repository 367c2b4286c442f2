# SPDX-License-Identifier: Apache-2.0
"""The Python face, with a stand-in for the model."""

from dataclasses import astuple, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rd_plugin.inspection import Inferencer, Inspector, Prediction, Source
from rd_plugin.results import RegionRules


class Brightest(Inferencer):
    """Scores an image by its brightest pixel, and keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[np.ndarray] = []
        self.record_id = "0a1b"

    def predict(self, image: np.ndarray) -> Prediction:
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
        result = inspector.predict(frame, "frame")
        assert (result.path, result.verdict, result.score, result.threshold, result.model) == (
            "frame",
            "anomalous",
            1.0,
            0.5,
            "0a1b",
        )
        assert [astuple(box)[:6] for box in result.boxes] == [(6, 4, 2, 2, 4, 1.0)]
        assert result.milliseconds == 2.0
        assert result.picture is not None
        np.testing.assert_array_equal(model.shown[-1], pixels)


def test_frames_of_opencv_have_their_colours_the_other_way_round(pixels: np.ndarray) -> None:
    pixels[..., 0] = 200
    model = Brightest()
    result = Inspector(model).predict(pixels[..., ::-1], channels="BGR")
    np.testing.assert_array_equal(model.shown[-1], pixels)
    assert result.picture is not None
    np.testing.assert_array_equal(result.picture.image, pixels)
    with pytest.raises(ValueError, match="channels must be 'RGB' or 'BGR', got 'bgr'"):
        Inspector(model).predict(pixels, channels="bgr")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [(r"SN\d+", "SN0042"), (r"cam\d_(\w+?)_", "SN0042"), (r"^(X)?cam", ""), ("lot", ""), (None, "")],
)
def test_rows_name_time_and_part(pattern: str | None, expected: str, pixels: np.ndarray, tmp_path: Path) -> None:
    file = tmp_path / "lot" / "cam1_SN0042_top.png"
    file.parent.mkdir()
    Image.fromarray(pixels).save(file)
    inspector = Inspector(Brightest(), part_id=pattern)
    before = datetime.now().astimezone()
    (from_file,) = inspector(file)
    results = [from_file, inspector.predict(pixels, file.name), *inspector(tmp_path / "none.png")]
    assert [result.part_id for result in results] == [expected, expected, ""]
    for result in results:
        time = datetime.fromisoformat(result.time)
        assert time.utcoffset() == before.utcoffset()
        assert timedelta(milliseconds=-1) <= time - before < timedelta(minutes=10)
    assert inspector.predict(pixels, file.name, part_id="given").part_id == "given"


def test_a_pattern_that_is_none() -> None:
    with pytest.raises(ValueError, match=r"part_id must be a regular expression, got '\(': missing \)"):
        Inspector(Brightest(), part_id="(")


def test_an_image_that_is_anomalous_as_a_whole_says_so(pixels: np.ndarray) -> None:
    class Whole(Brightest):
        def predict(self, image: np.ndarray) -> Prediction:
            return replace(super().predict(image), mask=np.zeros(image.shape[:2], bool))

    class Score(Brightest):
        def predict(self, image: np.ndarray) -> Prediction:
            return replace(super().predict(image), anomaly_map=None, mask=None)

    result = Inspector(Whole()).predict(pixels, "a.png")
    assert result.boxes == ()
    assert result.text() == "a.png: anomalous, score 1.000, no region: the image is anomalous as a whole"
    for model, image in ((Whole(), pixels // 8), (Brightest(), pixels), (Score(), pixels)):
        assert Inspector(model).predict(image).reason == ""


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
        Inspector(Brightest()).predict(frame)


def test_boxes_are_in_the_files_pixels_where_the_model_crops() -> None:
    """The model sees the middle of the image alone, at half its size."""

    class Middle(Brightest):
        def predict(self, image: np.ndarray) -> Prediction:
            return super().predict(image[10:30:2, 20:60:2])

    model = Middle()
    model.record = {"crop": [["resize", [20, 40], None], ["crop", [10, 20]]]}
    pixels = np.full((40, 80, 3), 40, np.uint8)
    pixels[14:20, 40:50] = 255
    result = Inspector(model).predict(pixels)
    assert [astuple(box)[:6] for box in result.boxes] == [(40, 14, 10, 6, 60, 1.0)]
    assert result.picture is not None
    assert result.picture.anomaly_map is not None
    assert result.picture.anomaly_map.shape == (20, 40)


def test_frames_of_a_size_that_the_model_does_not_take(pixels: np.ndarray) -> None:
    model = Brightest()
    model.image_size = (8, 6)
    with pytest.raises(ValueError, match="the image has 8 x 6 pixels, the model accepts only 6 x 8"):
        Inspector(model).predict(pixels)


def test_region_of_interest_is_outlined_and_images_of_another_shape_are_errors(pixels: np.ndarray) -> None:
    model = Brightest()
    model.record = {"arguments": {"roi": {"width": 80, "height": 60, "polygons": [[[0, 0], [80, 0], [80, 40]]]}}}
    inspector = Inspector(model)
    first, second = (inspector.predict(pixels).picture for _ in range(2))
    (outline,) = first.outlines
    assert outline.reshape(-1, 2).max(0).tolist() == [7, 3]
    assert second.outlines is first.outlines
    with pytest.raises(ValueError, match="roi was drawn on an image of 80 x 60 pixels, but the image has 6 x 8"):
        inspector.predict(pixels.transpose(1, 0, 2).copy())


def test_arguments_out_of_range() -> None:
    for name, value in (("workers", 0), ("threads", -1), ("multi_frame", "last"), ("max_pixels", 0)):
        with pytest.raises(ValueError, match=name):
            Inspector(Brightest(), **{name: value})


def test_files_in_three_lines(pixels: np.ndarray, tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "deep.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    Image.fromarray(pixels[..., 0].astype(np.uint16) << 8).save(tmp_path / "deep.png")
    inspector = Inspector(Brightest(), workers=2)
    results = list(inspector(tmp_path))
    assert [(Path(result.path).name, result.verdict) for result in results] == [
        ("a.png", "anomalous"),
        ("b.png", "anomalous"),
        ("deep.png", "error"),
    ]
    assert all(result.picture is None for result in results)
    (result,) = inspector([tmp_path / "a.png"], pictures=True)
    assert result.picture is not None
    np.testing.assert_array_equal(result.picture.image, pixels)
    assert [result.path for result in inspector(str(tmp_path / "*.png"))] == [result.path for result in results]


def test_what_is_done_with_each_comes_before_its_result(pixels: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    seen = []
    sources = [Source(str(tmp_path / "a.png")), Source("none", "no file fits the pattern.")]
    for result in Inspector(Brightest()).inspect(
        sources, each=[lambda result: seen.append((result.path, result.picture is None))]
    ):
        assert result.path in dict(seen)
        assert result.picture is None
    assert sorted(without for _, without in seen) == [False, True]


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1"])
def test_files_are_read_as_the_engine_reads_them(pixels: np.ndarray, tmp_path: Path, mode: str) -> None:
    from anomalib.data.utils import read_image

    path = tmp_path / "a.tif"
    Image.fromarray(pixels).convert(mode).save(path)
    model = Brightest()
    list(Inspector(model)(path))
    np.testing.assert_array_equal(model.shown[0], np.round(255 * read_image(path)))


def test_name_of_version_0_2(pixels: np.ndarray) -> None:
    inspector = Inspector(Brightest())
    with pytest.warns(DeprecationWarning, match=r"is now Inspector\.predict"):
        assert inspector.judge(pixels, "a").score == inspector.predict(pixels).score


@pytest.mark.parametrize(
    ("rules", "verdict", "ignored"),
    [
        (None, "anomalous", False),
        (RegionRules(min_area=4), "anomalous", False),
        (RegionRules(min_area=5), "normal", True),
    ],
)
def test_an_ignored_region_makes_no_part_anomalous(
    pixels: np.ndarray, rules: RegionRules | None, verdict: str, ignored: bool
) -> None:
    result = Inspector(Brightest(), rules=rules).predict(pixels, "a")
    assert (result.verdict, result.boxes[0].ignored) == (verdict, ignored)
    assert ("1 region ignored" in result.text()) == ignored
    model = Brightest()
    model.record = {"regions": {} if rules is None else rules.plain()}
    assert Inspector(model).predict(pixels).verdict == verdict


def test_a_threshold_on_trial(pixels: np.ndarray) -> None:
    result = Inspector(Brightest(), threshold=1.0).predict(pixels)
    assert (result.verdict, result.threshold, result.boxes) == ("normal", 1.0, ())
    with pytest.raises(ValueError, match="threshold must be a number, got nan"):
        Inspector(Brightest(), threshold=float("nan"))


def test_content_in_memory_gives_the_result_of_its_file(pixels: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    inspector = Inspector(Brightest(), product="gasket")
    (of_file,) = inspector([tmp_path / "a.png"])
    path, content = str(tmp_path / "a.png"), (tmp_path / "a.png").read_bytes()
    result = inspector.inspect_one(Source(path, content=content))
    assert replace(result, milliseconds=None, time="") == replace(of_file, milliseconds=None, time="")
    assert result.product == "gasket"
    assert result.picture is not None
    damaged = inspector.inspect_one(Source("b.png", content=content[:40]))
    assert (damaged.verdict, damaged.product, damaged.score) == ("error", "gasket", None)
