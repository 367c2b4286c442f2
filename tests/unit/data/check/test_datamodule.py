# SPDX-License-Identifier: Apache-2.0
"""What is said of splits, and of a whole data module."""

import shutil
from pathlib import Path

import pytest
from anomalib.data.utils import LabelName
from pandas import DataFrame
from PIL import Image

from rd_plugin import MVTec
from rd_plugin.data.check import FileFacts, Problem, check_datamodule, datasets, drop_samples
from rd_plugin.data.check.rules import check_split


def build(root: Path, **arguments: object) -> MVTec:
    data = MVTec(root, "tile", **arguments)
    data.setup()
    return data


def lines(root: Path, **arguments: object) -> list[str]:
    return [str(problem) for problem in check_datamodule(build(root), **arguments)]


def test_good_data(mvtec_root: Path) -> None:
    # The test set has four good images only, and thresholds are set on it by default.
    message = (
        "val: there are 4 normal images to set thresholds on: too few for a false-alarm rate of 5 %, which needs 19; "
        "4 allow for 20 %."
    )
    assert lines(mvtec_root) == [message]


@pytest.mark.parametrize(("good", "noted"), [(20, True), (98, True), (99, False)])
def test_too_few_good_images_for_the_promised_rate_are_noted_before_training(good: int, noted: bool) -> None:
    samples = DataFrame({"image_path": ["a.png"] * good, "label_index": 0})
    found = [problem.message for problem in check_split("val", samples, {"a.png": FileFacts("1", 9, 8, "L")})]
    assert len(found) == noted
    assert all("a false-alarm rate of 1 %, the default, which needs 99; " in line for line in found)


def test_empty_training_set(root: Path) -> None:
    data = build(root)
    data.train_data = data.train_data.subsample([])
    assert Problem("train", "there is no training image.") in check_datamodule(data)


def test_no_defects(root: Path) -> None:
    for folder in ("test/scratch", "test/stain", "ground_truth"):
        shutil.rmtree(root / "tile" / folder)
    assert "test: there is no defect, so AUROC, F1 and AUPRO are undefined." in lines(root)


def test_no_good_test_images(root: Path) -> None:
    data = build(root)
    samples = data.test_data.samples
    data.test_data.samples = samples[samples["label_index"] == LabelName.ABNORMAL]
    assert Problem("test", "there is no normal image, so AUROC is undefined.", "note") in check_datamodule(data)


def test_image_in_training_and_test_set(root: Path) -> None:
    trained, tested = root / "tile/train/good/003.png", root / "tile/test/good/002.png"
    shutil.copy(trained, tested)
    found = [line for line in lines(root) if "training set" in line]
    assert found == [f"{tested}: the image is in the training set, too, as {trained}."]


@pytest.mark.parametrize("name", ["renamed.png", "re-encoded.bmp", "link.png"])
def test_image_in_both_sets_under_another_name(root: Path, name: str) -> None:
    trained, tested = root / "tile/train/good/003.png", root / "tile/test/good" / name
    if name == "link.png":
        tested.symlink_to(trained)
    else:
        Image.open(trained).save(tested)
    found = [line for line in lines(root) if "training set" in line]
    assert found == [f"{tested}: the image is in the training set, too, as {trained}."]


def test_several_sizes(root: Path) -> None:
    path = root / "tile/train/good/003.png"
    Image.open(path).resize((50, 40)).save(path)
    assert any(line.startswith("train: images have 2 sizes, from 50 x 40 to 96 x 96 pixels.") for line in lines(root))


def test_only_the_splits_asked_for(root: Path) -> None:
    (root / "tile/train/good/003.png").write_bytes(b"")
    assert not any("003.png" in line for line in lines(root, splits=("val", "test")))
    assert any("003.png" in line for line in lines(root))


def test_samples_are_dropped_by_image_and_by_mask(root: Path) -> None:
    data = build(root)
    image = str(root / "tile/train/good/003.png")
    mask = str(root / "tile/ground_truth/stain/001_mask.png")
    before = len(data.train_data), len(data.test_data)
    # The validation set is the test set here, so the second sample is left out twice.
    assert drop_samples(datasets(data).values(), {image, mask}) == 3
    assert (len(data.train_data), len(data.test_data)) == (before[0] - 1, before[1] - 1)
    assert image not in set(data.train_data.samples["image_path"])
    assert mask not in set(data.test_data.samples["mask_path"])
