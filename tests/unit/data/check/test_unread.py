# SPDX-License-Identifier: Apache-2.0
"""Files that are not read are counted and named."""

import shutil
from pathlib import Path

from anomalib.data import AnomalibDataModule, Folder, MVTecAD
from PIL import Image

from rd_plugin import MVTec, OneClass, SolarCells
from rd_plugin.data.check import check_datamodule


def unread(data: AnomalibDataModule) -> list[str]:
    data.setup()
    return [str(problem) for problem in check_datamodule(data) if "not read" in problem.message]


def to_jpeg(image: Path) -> None:
    Image.open(image).save(image.with_suffix(".jpg"))
    image.unlink()


def test_images_of_another_kind(root: Path) -> None:
    for name in ("001", "002", "004"):
        to_jpeg(root / f"tile/train/good/{name}.png")
    (root / "tile/train/good/005.heic").write_bytes(b"no matter")
    folder = root / "tile/train/good"
    note = f"{folder}: 4 files are not read: 1 .heic, 3 .jpg; the first is 001.jpg."
    assert unread(MVTecAD(root, "tile")) == [note]
    assert unread(Folder("tile", folder, extensions=[".png"])) == [note]
    assert unread(MVTec(root, "tile")) == [f"{folder}: 1 files are not read: 1 .heic; the first is 005.heic."]


def test_defects_of_another_kind(root: Path) -> None:
    for image in (*root.glob("tile/test/stain/*.png"), *root.glob("tile/ground_truth/stain/*.png")):
        to_jpeg(image)
    assert unread(MVTecAD(root, "tile")) == [
        f"{root / 'tile/test/stain'}: 4 files are not read: 4 .jpg; the first is 000.jpg."
    ]
    assert unread(MVTec(root, "tile")) == []


def test_what_is_left_out_on_purpose(root: Path, tmp_path: Path) -> None:
    (root / "tile/readme.txt").write_text("")
    for name in ("Thumbs.db", ".DS_Store", ".000.png.partial"):
        (root / "tile/train/good" / name).write_text("")
    for arguments in ({}, {"val_split_mode": "from_test", "seed": 0}, {"val_split_mode": "synthetic", "seed": 0}):
        assert unread(MVTec(root, "tile", **arguments)) == []
    assert unread(Folder("tile", "train/good", root / "tile", "test/stain", "test/good")) == [
        f"{root / 'tile/test/scratch'}: 4 files are not read: 4 .png; the first is 000.png."
    ]
    assert unread(SolarCells()) == []
    for name in ("train/a", "train/b", "test/a", "test/b"):
        shutil.copytree(root / "tile/test/good", tmp_path / "classes" / name)
    assert unread(OneClass(tmp_path / "classes", "a")) == []


def test_folders_that_a_data_module_does_not_enter(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "tile/test/good", tmp_path / "day1")
    folder = root / "tile/train/good"
    (folder / "day1").symlink_to(tmp_path / "day1")
    # anomalib looks for files with Path.glob, which follows links to folders in no version or in some.
    data = Folder("tile", folder)
    data.setup()
    if not any("day1" in path for path in data.train_data.samples["image_path"]):
        assert unread(data) == [f"{folder / 'day1'}: 4 files are not read: 4 .png; the first is 000.png."]
    assert unread(MVTec(root, "tile")) == [f"{folder / 'day1'}: 4 files are not read: 4 .png; the first is 000.png."]
    (folder / "day1").unlink()
    assert unread(MVTec(root, "tile")) == []
