# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from PIL import Image

from rd_plugin import PartsFolder
from rd_plugin.data.one_part import images_of_part

NAMES = ("cap", "screw")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part in NAMES:
        (tmp_path / part / "good").mkdir(parents=True)
        for index in range(8):
            Image.new("RGB", (8, 8)).save(tmp_path / part / "good" / f"{index}.png")
    return tmp_path


def test_images_of_other_parts_are_left_out(root: Path) -> None:
    several = PartsFolder(root)
    chosen = images_of_part(several, "cap", NAMES)
    # As a calibration does, which must not bring the others back.
    chosen.setup("fit")
    for split in ("train_data", "val_data"):
        samples, all_samples = getattr(chosen, split).samples, getattr(several, split).samples
        assert set(samples["part"]) == {"cap"}
        expected = all_samples[all_samples["part"] == "cap"]
        assert list(samples["image_path"]) == list(expected["image_path"])
        assert set(all_samples["part"]) == set(NAMES)


def test_images_whose_path_names_no_part_stay(root: Path) -> None:
    (root / "cap").rename(root / "new")
    # Of eight, four set thresholds, and two are for the test.
    assert len(images_of_part(PartsFolder(root / "new"), "cap", NAMES).train_data) == 2


def test_without_an_image_of_the_part(root: Path) -> None:
    with pytest.raises(ValueError, match="data: there is no training image of part 'cap'; give its folder, or that of"):
        images_of_part(PartsFolder(root / "screw"), "cap", NAMES)
