# SPDX-License-Identifier: Apache-2.0
"""Files are there whole or not at all."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from rd_plugin.storage import atomic_export, atomic_file, move_files


def _names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_file_is_hidden_beside_its_place_until_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    path.write_text("old")
    with atomic_file(path) as partial:
        partial.write_text("new")
        assert partial.parent == tmp_path
        assert partial.name.startswith(".model.ckpt.")
        assert partial.suffix == ".partial"
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert _names(tmp_path) == {"model.ckpt"}


def _write_half(path: Path, error: BaseException) -> None:
    with atomic_file(path) as partial:
        partial.write_text("half")
        raise error


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_failed_write_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "model.ckpt"
    path.write_text("old")
    with pytest.raises(type(error)):
        _write_half(path, error)
    assert path.read_text() == "old"
    assert _names(tmp_path) == {"model.ckpt"}


def test_failed_write_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path / 'model.ckpt'}'$"):
        _write_half(tmp_path / "model.ckpt", OSError(28, "No space left on device"))


def test_files_are_moved_to_the_same_places(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for path in (source / "a/new.png", source / "old.png", target / "old.png", target / "other.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.parent.name)
    move_files(source, target)
    assert _names(source) == set()
    assert _names(target) == {"a/new.png", "old.png", "other.png"}
    assert (target / "old.png").read_text() == "source"


def _export(folder: str, text: str) -> Path:
    """An export of two files, of which the first refers to the second."""
    path = Path(folder) / "weights" / "model.xml"
    path.parent.mkdir()
    for file in (path, path.with_suffix(".bin")):
        file.write_text(text)
    return path


def test_export_returns_the_path_of_its_main_file(tmp_path: Path) -> None:
    root = tmp_path / "results"
    path = atomic_export(_export, root, "new")
    assert path == root / "weights/model.xml"
    assert path.read_text() == "new"
    assert _names(root) == {"weights/model.xml", "weights/model.bin"}
    assert {path.name for path in root.iterdir()} == {"weights"}


def test_failed_export_leaves_the_old_one(tmp_path: Path) -> None:
    def fail(folder: str, text: str) -> Path:
        _export(folder, text)
        raise RuntimeError

    atomic_export(_export, tmp_path, "old")
    with pytest.raises(RuntimeError):
        atomic_export(fail, tmp_path, "new")
    assert {path.read_text() for path in (tmp_path / "weights").iterdir()} == {"old"}
    assert {path.name for path in tmp_path.iterdir()} == {"weights"}


def test_export_that_fills_the_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: str) -> Path:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=4096 if path == folder else 2**30))
        msg = "unexpected pos 64 vs 0"
        raise RuntimeError(msg)

    atomic_export(_export, tmp_path, "old")
    with pytest.raises(OSError, match="No space left on device") as caught:
        atomic_export(fail, tmp_path)
    assert caught.value.filename == str(tmp_path)
    assert {path.name for path in tmp_path.rglob("*")} == {"weights", "model.xml", "model.bin"}


@pytest.mark.parametrize("moved", [0, 1])
def test_export_stopped_between_its_files_is_no_mix_of_old_and_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    atomic_export(_export, tmp_path, "old")
    moves = []

    def stop(self: Path, target: Path) -> None:
        if len(moves) == moved:
            raise KeyboardInterrupt
        moves.append(target)
        self.rename(target)

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        atomic_export(_export, tmp_path, "new")
    assert _names(tmp_path) == {"weights/model.bin"}
