# SPDX-License-Identifier: Apache-2.0
"""Drawn images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rd_plugin.inspection import PictureFolder, draw
from rd_plugin.results import InspectionResult, Picture, Region


@pytest.fixture
def result() -> InspectionResult:
    """A grey image of 200 x 300 pixels with a defect below on the right."""
    anomaly_map = np.zeros((20, 30))
    anomaly_map[12:16, 20:26] = 1
    picture = Picture(np.full((200, 300, 3), 90, np.uint8), anomaly_map, anomaly_map > 0.5)
    return InspectionResult(
        "cam1/a.png", "anomalous", 0.875, 0.5, (Region(200, 120, 60, 40, 2400, 1.0),), 1.0, picture=picture
    )


def test_picture_shows_map_and_box_at_the_images_scale_below_a_bar_with_the_verdict(result: InspectionResult) -> None:
    drawn = draw(result)
    assert (drawn.width, drawn.mode) == (300, "RGB")
    bar = drawn.height - 200
    assert 8 < bar < 30
    whole = np.asarray(drawn).astype(int)
    red = (whole[..., 0] - whole[..., 1:].max(-1)) > 50
    assert red[1].all()
    # The box and the hot map.
    pixels, red = whole[bar:], red[bar:]
    assert red[120, 200:260].all()
    assert red[140, 230]
    # What is normal stays as it is.
    assert (pixels[:, :100] == 90).all()
    good = np.asarray(draw(replace(result, verdict="normal", boxes=()))).astype(int)
    assert good[1, 1, 1] > good[1, 1, 0]
    # Verdict and score are in it.
    other = np.asarray(draw(replace(result, score=0.625)))
    assert (other != whole)[:bar].any()
    assert not (other != whole)[bar:].any()


def test_region_of_interest_is_outlined(result: InspectionResult) -> None:
    outline = np.array([[[10, 20]], [[90, 20]], [[90, 150]], [[10, 150]]])
    drawn = np.asarray(draw(replace(result, picture=replace(result.picture, outlines=[outline])))).astype(int)
    pixels = drawn[drawn.shape[0] - 200 :]
    blue = pixels[..., 2] - pixels[..., 0] > 100
    assert blue[20, 10:91].all()
    assert blue[20:151, 10].all()
    assert not blue[25:145, 15:85].any()


def test_small_and_narrow_images_and_models_without_a_map(result: InspectionResult) -> None:
    for height, width in ((1, 1), (8, 300), (300, 8)):
        picture = Picture(np.zeros((height, width, 3), np.uint8), None, None)
        drawn = draw(replace(result, picture=picture, boxes=()))
        assert drawn.width == width
        assert (np.asarray(drawn)[-height:] == 0).all()
    with pytest.raises(ValueError, match=r"'cam1/a.png' has no picture"):
        draw(replace(result, picture=None))


def test_pictures_have_the_folders_of_their_files(result: InspectionResult, tmp_path: Path) -> None:
    source = tmp_path / "source"
    folder = PictureFolder(tmp_path / "drawn", source)
    for path in ("a/x.png", "b/x.png", "x.jpeg", "x.bmp", "d/../y.png"):
        folder.write(replace(result, path=str(source / path)))
    folder.write(replace(result, path=str(source / "good.png"), verdict="normal"))
    folder.write(replace(result, path=str(source / "bad.png"), verdict="error", picture=None))
    drawn = sorted(path.relative_to(tmp_path / "drawn") for path in (tmp_path / "drawn").rglob("*.*"))
    assert list(map(str, drawn)) == ["a/x.png", "b/x.png", "x.bmp.png", "x.jpeg", "y.png"]
    assert [Image.open(tmp_path / "drawn" / path).format for path in drawn] == ["PNG", "PNG", "PNG", "JPEG", "PNG"]
    # A file from elsewhere stays within the folder, too.
    assert folder.place("/elsewhere/x.png") == tmp_path / "drawn" / "elsewhere" / "x.png"
