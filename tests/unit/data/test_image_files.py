# SPDX-License-Identifier: Apache-2.0
"""Which files count as images of a folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
from torchvision.datasets.folder import IMG_EXTENSIONS

from rd_plugin import OneClass, PartsFolder
from rd_plugin.data.check.pairs import find_images as images_of_layout
from rd_plugin.data.image_files import find_image_files, is_hidden
from rd_plugin.inspection.sources import find_images
from rd_plugin.inspection.watch import _look
from rd_plugin.synthetic import Textures


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _found(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_image_files(folder).files]


def test_links_to_folders_are_followed_and_each_folder_is_searched_once(tmp_path: Path) -> None:
    folder = tmp_path / "good"
    _touch(folder, "own/1.png", "2.png")
    _touch(tmp_path / "elsewhere", "3.png", "deep/4.png")
    (folder / "a link").symlink_to(tmp_path / "elsewhere")
    # One of them leads into itself, one to what is there under its own name, one to the whole again.
    (folder / "circle").symlink_to(folder)
    (folder / "all").symlink_to(folder / "own")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path)
    assert _found(folder) == ["2.png", "a link/3.png", "a link/deep/4.png", "own/1.png"]


def test_a_folder_that_is_a_link_or_hidden_is_searched_like_any_other(tmp_path: Path) -> None:
    _touch(tmp_path / ".data", "1.png", ".no/2.png")
    (tmp_path / "link").symlink_to(tmp_path / ".data")
    assert _found(tmp_path / "link") == _found(tmp_path / ".data") == ["1.png"]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    _touch(tmp_path, *(f"image{ending.upper()}" for ending in IMG_EXTENSIONS), "a.txt", "b.txt", "Thumbs.db", "README")
    _touch(tmp_path, "._image.png", ".trash/1.png", ".trash/2.png")
    found = find_image_files(tmp_path)
    assert len(found.files) == len(IMG_EXTENSIONS)
    assert found.left_out_text == "2 .txt, 2 hidden, 1 without extension"


def test_a_link_that_leads_nowhere_is_listed_to_be_named(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert _found(tmp_path) == ["gone.png"]


def test_hidden_is_seen_from_the_folder() -> None:
    assert is_hidden("/a/.b/c/.d/1.png", "/a/.b/c")
    assert not is_hidden("/a/.b/c/1.png", "/a/.b/c")
    # As where a system reports another name of the folder.
    assert not is_hidden("/private/.a/1.png", "/a")


def _parts(folder: Path) -> list[str]:
    data = PartsFolder(folder.parent, normal_dir=folder.name, num_workers=0)
    data.setup()
    splits = (data.train_data, data.val_data, data.test_data)
    return [path for split in splits for path in split.samples["image_path"]]


def _one_class(folder: Path) -> list[str]:
    root = folder.parent / "classes"
    for split in ("train", "test"):
        (root / split).mkdir(parents=True)
        (root / split / "a").symlink_to(folder)
    _touch(root / "test", ".ipynb_checkpoints/1.png", "b/1.png")
    data = OneClass(root, "a", num_workers=0)
    data.setup()
    assert set(data.test_data.samples["label_index"]) == {0, 1}
    paths = [path for split in (data.train_data, data.val_data) for path in split.samples["image_path"]]
    return [path.replace(str(root / "train" / "a"), str(folder)) for path in paths]


READERS: dict[str, Callable[[Path], list[str]]] = {
    "parts folder": _parts,
    "one class": _one_class,
    "inspect": lambda folder: [source.path for source in find_images([str(folder)])],
    "watch": lambda folder: _look([str(folder)])[0],
    "textures": lambda folder: list(map(str, Textures(folder).files)),
}


@pytest.mark.parametrize("reader", READERS)
def test_all_find_the_same_files(reader: str, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "good"
    _touch(folder, *(f"{index}.png" for index in range(4)), "5.JPG", ".hidden.png", ".hidden/6.png", "notes.txt")
    _touch(tmp_path / "day1", "7.png", "8.Tiff")
    (folder / "day1").symlink_to(tmp_path / "day1")
    names = {Path(path).relative_to(folder).as_posix() for path in READERS[reader](folder)}
    assert names == {"0.png", "1.png", "2.png", "3.png", "5.JPG", "day1/7.png", "day1/8.Tiff"}


def test_folders_laid_out_as_mvtec_leave_hidden_files_out(tmp_path: Path) -> None:
    _touch(tmp_path, "1.PNG", "._1.png", "2.txt")
    assert [path.name for path in images_of_layout(tmp_path)] == ["1.PNG"]


@pytest.mark.parametrize("reader", ["parts folder", "one class"])
def test_a_broken_link_is_named(reader: str, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "good"
    _touch(folder, *(f"{index}.png" for index in range(5)))
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(FileNotFoundError, match=r"gone\.png' is a broken link\."):
        READERS[reader](folder)
