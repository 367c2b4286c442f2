# SPDX-License-Identifier: Apache-2.0
"""Masks without images and images without masks."""

from pathlib import Path

import pytest

from rd_plugin import MVTec
from rd_plugin.data.check import check_pairs, set_up


def test_complete_data(root: Path) -> None:
    assert check_pairs(root / "tile") == []
    assert check_pairs(root) == []


def test_missing_and_surplus_masks(root: Path) -> None:
    truth = root / "tile/ground_truth/stain"
    (truth / "001_mask.png").rename(truth / "009_mask.png")
    image = root / "tile/test/stain/001.png"
    assert [str(problem) for problem in check_pairs(root / "tile")] == [
        f"{image}: the image of a defect has no mask; expected {truth}/001_mask.png.",
        f"{truth}/009_mask.png: the mask belongs to no image; expected one called 009.",
    ]


def test_data_module_names_the_image_without_a_mask(root: Path) -> None:
    (root / "tile/ground_truth/stain/001_mask.png").unlink()
    with pytest.raises(ValueError, match=r"(?s)Data check: 1 problem .*stain/001.png \| the image of a defect has no"):
        set_up(MVTec(root, "tile"))


def test_other_failures_are_the_data_modules_own(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Path does not exist"):
        set_up(MVTec(tmp_path, "tile"))
