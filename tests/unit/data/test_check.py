# SPDX-License-Identifier: Apache-2.0
"""What the data check says of single files and of sets."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rd_plugin import MVTec
from rd_plugin.data.check import Problem, check_dataset, check_image, check_mask


def _save(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)
    return path


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "CMYK"])
def test_plain_images_pass(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    assert check_image(_save(tmp_path / f"image.{suffix}", np.full((8, 9, 3), 90, dtype=np.uint8), mode)) == []


@pytest.mark.parametrize(
    ("dtype", "suffix"),
    [(np.uint16, "png"), (np.uint16, "tif"), (np.int32, "tif"), (np.float32, "tif")],
)
def test_deep_images_are_refused(tmp_path: Path, dtype: type, suffix: str) -> None:
    (problem,) = check_image(_save(tmp_path / f"image.{suffix}", np.full((8, 9), 3000, dtype=dtype)))
    assert problem.severity == "error"
    assert "more than 8 bits a channel" in problem.message


def test_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "none.png"
    assert check_image(path) == [Problem(str(path), "the file does not exist.")]


def test_problem_reads_as_a_line() -> None:
    assert str(Problem("a.png", "the file is empty.")) == "a.png: the file is empty."


def test_mask_is_compared_with_its_image(tmp_path: Path) -> None:
    image = _save(tmp_path / "image.png", np.zeros((8, 9, 3), dtype=np.uint8))
    good = _save(tmp_path / "good.png", np.eye(8, 9, dtype=np.uint8) * 255)
    small = _save(tmp_path / "small.png", np.eye(4, 4, dtype=np.uint8) * 255)
    assert check_mask(good, image) == []
    (problem,) = check_mask(small, image)
    assert problem.message == "the mask has 4 x 4 pixels, its image 9 x 8; both must agree."


def test_known_files_are_not_read_again(mvtec_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = MVTec(mvtec_root, "tile")
    data.setup()
    read: list[Path] = []
    monkeypatch.setattr("rd_plugin.data.check.check_image", lambda path: read.append(path) or [])
    known = set(data.test_data.samples["image_path"][:10])
    assert check_dataset(data.test_data, "test", known) == []
    assert set(read) == set(data.test_data.samples["image_path"]) - known


def test_empty_training_set(mvtec_root: Path) -> None:
    data = MVTec(mvtec_root, "tile")
    data.setup()
    empty = data.train_data.subsample([])
    assert [str(problem) for problem in check_dataset(empty, "train")] == ["train: there is no training image."]
