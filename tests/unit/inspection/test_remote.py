# SPDX-License-Identifier: Apache-2.0
"""Images at addresses, with fsspec's file system in memory in place of object storage."""

import fsspec
import pytest

from rd_plugin.inspection import find_images, is_video
from rd_plugin.inspection.remote import find_remote

NAMES = ("good/2.png", "good/1.PNG", "mask/2.png", "deep/ground_truth/3.png", ".hidden/4.png", ".5.png", "notes.txt")


@pytest.fixture(autouse=True)
def _bucket(memory: fsspec.AbstractFileSystem) -> None:
    for name in NAMES:
        memory.pipe_file(f"/bucket/parts/{name}", b"content")


def _paths(address: str) -> list[str]:
    return [source.path.replace("memory:///bucket/parts/", "") for source in find_remote(address)]


def test_folder_without_masks_and_hidden_files() -> None:
    assert _paths("memory://bucket/parts") == ["deep/ground_truth/3.png", "good/1.PNG", "good/2.png"]
    assert _paths("memory://bucket/parts/mask/") == ["mask/2.png"]


def test_pattern_and_file() -> None:
    assert _paths("memory://bucket/parts/*/2.png") == ["good/2.png", "mask/2.png"]
    assert _paths("memory://bucket/parts/notes.txt") == ["memory://bucket/parts/notes.txt"]


def test_nothing_there_has_a_reason() -> None:
    fsspec.filesystem("memory").pipe_file("/other/notes.txt", b"text")
    (folder,) = find_remote("memory://other")
    (pattern,) = find_remote("memory://other/*.png")
    assert (folder.missing, pattern.missing) == ("the folder contains no image.", "no file fits the pattern.")


def test_addresses_among_paths_and_in_lists() -> None:
    listed = ["memory://bucket/parts/good\n", "memory://bucket/parts/good/1.PNG\n"]
    found = [source.path for source in find_images(["-", "memory://bucket/parts/good/2.png"], listed)]
    assert found[:2] == ["memory:///bucket/parts/good/1.PNG", "memory:///bucket/parts/good/2.png"]
    assert not is_video("memory://bucket/a.mp4")
    assert is_video("rtsp://camera/1")


def test_what_cannot_be_listed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        msg = "Unable to locate credentials"
        raise RuntimeError(msg)

    monkeypatch.setattr(fsspec.implementations.memory.MemoryFileSystem, "isdir", fail)
    with pytest.raises(OSError, match="'memory://bucket' cannot be listed: Unable to locate credentials"):
        list(find_remote("memory://bucket"))
