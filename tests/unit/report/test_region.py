# SPDX-License-Identifier: Apache-2.0
"""The page to draw a region on; what it does in a browser is in tests/integration/test_roi.py."""

import base64
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from rd_plugin.report import write_region_page


def test_page_holds_the_image_and_its_size(tmp_path: Path) -> None:
    image = np.zeros((100, 2000, 3), np.uint8)
    image[..., 0] = 200
    Image.fromarray(image).save(tmp_path / "a & b.png")
    write_region_page(tmp_path / "roi.html", tmp_path / "a & b.png")
    page = (tmp_path / "roi.html").read_text(encoding="utf-8")
    assert 'data-width="2000" data-height="100"' in page
    assert "a &amp; b.png" in page
    picture = base64.b64decode(re.search(r"image/jpeg;base64,([^\"]+)", page)[1])
    shown = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (80, 1600, 3)
    assert np.abs(shown.mean((0, 1)) - [0, 0, 200]).max() < 5
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def test_image_that_cannot_be_read_leaves_no_page(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(OSError, match="image"):
        write_region_page(tmp_path / "roi.html", tmp_path / "a.png")
    assert not (tmp_path / "roi.html").exists()
