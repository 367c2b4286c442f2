# SPDX-License-Identifier: Apache-2.0
"""Files at an address are read as files on the disk."""

from pathlib import Path

import fsspec
import pytest

from rd_plugin.storage import local_copy

ADDRESS = "memory://local_copy/1.png"


@pytest.fixture(autouse=True)
def _remote() -> None:
    fsspec.filesystem("memory").pipe(ADDRESS, b"image")


def test_file_on_the_disk_is_itself(tmp_path: Path) -> None:
    with local_copy(tmp_path / "1.png", tmp_path / "kept.png") as file:
        assert file == tmp_path / "1.png"
    assert not list(tmp_path.iterdir())


def test_copy_is_gone_after_the_block() -> None:
    with local_copy(ADDRESS) as file:
        assert file.read_bytes() == b"image"
        assert file.suffix == ".png"
    assert not file.exists()


def test_copy_is_kept_and_found_again(tmp_path: Path) -> None:
    kept = tmp_path / "cache" / "1.png"
    with local_copy(ADDRESS, kept) as file:
        assert file == kept
    fsspec.filesystem("memory").rm(ADDRESS)
    with local_copy(ADDRESS, kept) as file:
        assert file.read_bytes() == b"image"


def test_no_part_of_a_copy_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: object, place: str, file: str) -> None:
        del place
        Path(file).write_bytes(b"im")
        msg = "cut  off"
        raise RuntimeError(msg)

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.get_file", stop)
    with pytest.raises(OSError, match="cut off"), local_copy(ADDRESS, tmp_path / "1.png"):
        pytest.fail("there is no copy")
    assert not list(tmp_path.iterdir())


def test_missing_file_is_named() -> None:
    missing = "memory://local_copy/2.png"
    with pytest.raises(FileNotFoundError, match=f"there is no file at this address: {missing!r}"), local_copy(missing):
        pytest.fail("there is no copy")
