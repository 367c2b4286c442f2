# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin roi``: a page to draw the region of interest."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import Tool

pytestmark = pytest.mark.usefixtures("in_tmp_path")


def test_page(tool: Tool) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save("part.png")
    assert tool("roi", "part.png").output.startswith("roi.html written: open it in a browser")
    assert tool("roi", "part.png", "--output", "other.html").status == 0
    assert Path("other.html").read_bytes() == Path("roi.html").read_bytes()


def test_image_that_is_not_there(tool: Tool) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save("part.png")
    status, _, errors = tool("roi", "prat.png")
    assert status == 2
    assert "image 'prat.png' is not a file. Did you mean" in errors
    assert not list(Path().glob("*.html"))
