# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from rd_plugin.data.region_file import read_region

PLAIN = {"width": 8, "height": 4, "polygons": [[[2, 1], [6, 1], [6, 3], [2, 3]]]}


def test_mask(tmp_path: Path) -> None:
    mask = np.zeros((4, 8), np.uint8)
    mask[1:3, 2:6] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert np.array_equal(read_region(tmp_path / "mask.png").mask((4, 8)), mask > 0)


@pytest.mark.parametrize(("name", "dump"), [("roi.yaml", yaml.safe_dump), ("roi.json", json.dumps)])
def test_polygons(tmp_path: Path, name: str, dump: object) -> None:
    (tmp_path / name).write_text(dump(PLAIN))
    assert read_region(str(tmp_path / name)) == read_region(PLAIN)
    assert read_region(PLAIN).mask((4, 8)).sum() == 8


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"roi .*mask.png' is not a file; expected a mask"):
        read_region(tmp_path / "mask.png")
    for name, text, message in (
        ("a.yaml", "polygons: [", "roi file .*a.yaml'"),
        ("b.json", "[]", r"roi file .*b.json': .*needs width and height"),
        ("c.png", "no image", "roi file .*c.png' is neither an image nor a YAML"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=message):
            read_region(tmp_path / name)
    Image.fromarray(np.zeros((4, 8), np.uint8)).save(tmp_path / "black.png")
    with pytest.raises(ValueError, match=r"roi file .*black.png': nothing of the image of 8 x 4 pixels is inside"):
        read_region(tmp_path / "black.png")
