# SPDX-License-Identifier: Apache-2.0
"""Pictures composed of four parts: a defect and its mask lie in the same quarter, and only small ones are taken."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.accuracy import composed


def _save(file: Path, grey: int, box: tuple[int, int, int, int] | None = None, value: int = 255) -> None:
    picture = Image.new("L", (80, 80), grey)
    if box is not None:
        picture.paste(value, box)
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file)


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """Ten grey images, and two defects: of 10 x 5 pixels, which are 20 x 10 in a quarter, and of 40 x 40."""
    folder = tmp_path / "part"
    for index in range(5):
        for split in ("train", "test"):
            _save(folder / split / "good" / f"{index}.png", 50 + index)
    for name, box in (("small", (60, 10, 70, 15)), ("large", (20, 20, 60, 60))):
        _save(folder / "test" / "spot" / f"{name}.png", 50, box)
        _save(folder / "ground_truth" / "spot" / f"{name}_mask.png", 0, box)
    return folder


def test_a_small_defect_and_its_mask_lie_in_the_same_quarter(
    part: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["composed", str(part), str(tmp_path)])
    composed.main()
    root = tmp_path / "composed"
    pictures = sorted(file.relative_to(root).as_posix() for file in root.rglob("*.png"))
    good = [f"{split}/good/{index:04}.png" for split in ("test", "train") for index in range(5)]
    assert pictures == sorted([*good, "ground_truth/spot/small_mask.png", "test/spot/small.png"])
    mask, picture = (np.asarray(Image.open(root / name).convert("L")) for name in pictures if "small" in name)
    assert picture.shape == mask.shape == (320, 320)
    assert (mask == 255).sum() == 20 * 10
    assert (picture[mask == 255] == 255).all()
    # The other quarters are good images.
    assert picture[mask == 0].max() <= 54


def test_a_part_with_too_few_images_is_refused(part: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in (0, 1):
        (part / "test" / "good" / f"{index}.png").unlink()
    monkeypatch.setattr("sys.argv", ["composed", str(part), str(tmp_path)])
    with pytest.raises(SystemExit, match=r"good has 3 PNG files; a picture takes four\."):
        composed.main()
