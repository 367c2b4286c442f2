# SPDX-License-Identifier: Apache-2.0
"""Problems of files and sets, told from facts alone; those of whole data modules are in test_datamodule.py."""

import pandas as pd
import pytest

from rd_plugin.data.check import FileFacts
from rd_plugin.data.check.rules import check_mask, check_overlap, check_split

IMAGE = FileFacts("1", 9, 8, "RGB")


@pytest.mark.parametrize(
    ("mask", "messages"),
    [
        (FileFacts("2", 9, 8, "L"), []),
        (FileFacts("2", 4, 4, "L"), ["the mask has 4 x 4 pixels, its image 9 x 8; both must agree."]),
        (FileFacts("2", 9, 8, "L", marked=0.0), ["the mask of an anomalous image marks no pixel."]),
        (FileFacts(error="the file is empty."), ["the file is empty."]),
    ],
)
def test_mask(mask: FileFacts, messages: list[str]) -> None:
    assert [problem.message for problem in check_mask("mask.png", mask, IMAGE)] == messages


def test_size_of_a_mask_is_not_compared_with_an_image_that_cannot_be_read() -> None:
    assert check_mask("mask.png", FileFacts("2", 4, 4, "L"), FileFacts(error="the file is empty.")) == []


def _samples(labels: list[int], folder: str) -> pd.DataFrame:
    return pd.DataFrame({"image_path": [f"{folder}/{i}.png" for i in range(len(labels))], "label_index": labels})


@pytest.mark.parametrize(
    ("name", "labels", "severity", "message"),
    [
        ("train", [], "error", "there is no training image."),
        ("test", [0, 0], "note", "there is no defect"),
        ("test", [1, 1], "note", "there is no normal image"),
        ("val", [0] * 18, "note", "there are 18 normal images to set thresholds on: too few"),
    ],
)
def test_split(name: str, labels: list[int], severity: str, message: str) -> None:
    samples = _samples(labels, name)
    (problem,) = check_split(name, samples, {path: FileFacts(path, 9, 8, "RGB") for path in samples["image_path"]})
    assert (problem.subject, problem.severity) == (name, severity)
    assert message in problem.message


def test_image_of_the_training_set_is_found_by_its_pixels() -> None:
    train, test = _samples([0, 0], "train"), _samples([0, 1], "test")
    facts = {path: FileFacts(path, 9, 8, "RGB", pixels=path) for path in train["image_path"]}
    facts |= {"test/0.png": FileFacts("a", pixels="train/1.png"), "test/1.png": FileFacts("b", pixels="new")}
    (problem,) = check_overlap(train, test, facts)
    assert (problem.subject, problem.message) == (
        "test/0.png",
        "the image is in the training set, too, as train/1.png.",
    )
