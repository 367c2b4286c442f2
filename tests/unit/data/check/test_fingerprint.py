# SPDX-License-Identifier: Apache-2.0
"""Whether two runs saw the same images."""

import shutil
from pathlib import Path

import pytest
from anomalib.data import Folder

from rd_plugin import MVTec
from rd_plugin.data.check import check_datamodule, fingerprint

IMAGE = Path("tile/train/good/003.png")


def build(root: Path) -> MVTec:
    data = MVTec(root, "tile")
    data.setup()
    return data


def test_copy_elsewhere_is_the_same(mvtec_root: Path, root: Path) -> None:
    expected = fingerprint(build(mvtec_root))
    assert fingerprint(build(root)) == expected
    shutil.rmtree(root / "tile/test/stain")
    shutil.rmtree(root / "tile/ground_truth/stain")
    assert fingerprint(build(root)) == expected


@pytest.mark.parametrize("change", ["content", "name", "less", "more", "swapped"])
def test_other_images_are_not(mvtec_root: Path, root: Path, change: str) -> None:
    image, other = root / IMAGE, root / "tile/train/good/004.png"
    match change:
        case "content":
            image.write_bytes((root / "tile/test/good/000.png").read_bytes())
        case "name":
            image.rename(image.with_name("x.png"))
        case "less":
            image.unlink()
        case "more":
            shutil.copy(image, image.with_name("x.png"))
        case "swapped":
            first, second = image.read_bytes(), other.read_bytes()
            image.write_bytes(second)
            other.write_bytes(first)
    assert fingerprint(build(root)) != fingerprint(build(mvtec_root))


def test_images_that_were_checked_are_not_read_again(
    mvtec_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = build(mvtec_root)
    expected = fingerprint(data)
    check_datamodule(data, tmp_path / "memory.json")
    monkeypatch.setattr(
        "rd_plugin.data.check.survey.inspect_file", lambda path, **_: pytest.fail(f"{path} was read again")
    )
    assert fingerprint(data, tmp_path / "memory.json") == expected


def test_data_module_without_a_root(mvtec_root: Path, root: Path) -> None:
    def images(folder: Path) -> Folder:
        data = Folder(name="tile", normal_dir=folder / "tile/train/good", seed=0)
        data.setup()
        return data

    assert fingerprint(images(root)) == fingerprint(images(mvtec_root))
