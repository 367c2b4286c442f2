# SPDX-License-Identifier: Apache-2.0
"""Folders on a disk and at an address are seen as the same."""

from pathlib import Path

import fsspec
import pytest

from rd_plugin.data.folder_tree import RemoteTree, folder_tree

FILES = ("good/b.PNG", "good/inner/a.jpg", "good/.c.png", "good/.trash/d.png", "good/notes.txt", "defect/e.png")


@pytest.fixture
def roots(tmp_path: Path) -> tuple[str, str]:
    """The same files on the disk and in fsspec's memory."""
    address = f"memory://{tmp_path.name}/parts"
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
        fsspec.filesystem("memory").pipe(f"{address}/{name}", name.encode())
    return str(tmp_path), address


def test_both_hold_the_same(roots: tuple[str, str]) -> None:
    disk, remote = map(folder_tree, roots)
    for tree in (disk, remote):
        root = tree.root
        assert [folder.name for folder in tree.folders(root)] == ["defect", "good"]
        assert tree.is_folder(root)
        assert tree.is_folder(root / "good")
        assert not tree.is_folder(root / "mask")
        found = tree.find(root / "good")
        assert [path.relative_to(root).as_posix() for path in found.files] == ["good/b.PNG", "good/inner/a.jpg"]
        assert "1 .txt" in found.left_out_text
        assert "2 hidden" in found.left_out_text


def test_files_of_an_address_have_sizes_and_versions(roots: tuple[str, str]) -> None:
    tree = folder_tree(roots[1])
    assert isinstance(tree, RemoteTree)
    file, other = tree.root / "good" / "b.PNG", tree.root / "defect" / "e.png"
    assert fsspec.open(tree.name(file)).open().read() == b"good/b.PNG"
    assert tree.size(file) == len("good/b.PNG")
    assert tree.version(file) != tree.version(other)
    assert tree.version(file).endswith(".PNG")
    fsspec.filesystem("memory").pipe(tree.name(file), b"changed")
    assert folder_tree(roots[1]).version(file) != tree.version(file)


def test_what_cannot_be_listed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        msg = "no  credentials"
        raise RuntimeError(msg)

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.find", fail)
    with pytest.raises(OSError, match=r"data.root 'memory://parts' cannot be listed: no credentials"):
        folder_tree("memory://parts")
