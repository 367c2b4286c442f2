# SPDX-License-Identifier: Apache-2.0
"""Addresses of files, with fsspec's file system in memory in place of object storage."""

from pathlib import Path

import fsspec
import pytest

from rd_plugin.storage import file_system, is_address, local_file, make_folder, read_address

pytestmark = pytest.mark.usefixtures("memory")


def test_streams_and_paths_are_no_addresses() -> None:
    assert [is_address(path) for path in ("memory://a", "s3://b/c", "gs://b", "az://b", "file:///a")] == [True] * 5
    assert [is_address(path) for path in ("a", "/a:b", "rtsp://c/1", "http://c/1", "https://c", "none://a")] == [
        False
    ] * 6


def test_a_file_is_read_or_has_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    assert read_address(f"file://{tmp_path}/a") == b"content"
    with pytest.raises(OSError, match="the file does not exist"):
        read_address("memory://b")
    with pytest.raises(OSError, match="the file cannot be read"):
        read_address(f"file://{tmp_path}")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        msg = "Install s3fs to access S3"
        raise ImportError(msg)

    monkeypatch.setattr("fsspec.core.url_to_fs", fail)
    with pytest.raises(ImportError, match="'s3://b' needs another package: Install s3fs"):
        file_system("s3://b")


def test_folders_are_made_on_disks_only(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder("memory://misspelt")
    assert (tmp_path / "a" / "b").is_dir()
    assert not fsspec.filesystem("memory").exists("/misspelt")


def test_a_file_is_copied_when_it_is_done_or_fails() -> None:
    with local_file("memory://results/a.csv", "csv") as path:
        path.write_text("1\n")
        assert path.name == "a.csv"
    with (
        pytest.raises(FileExistsError, match=r"csv 'memory://results/a\.csv' exists already"),
        local_file("memory://results/a.csv", "csv"),
    ):
        pass

    def stopped() -> None:
        with local_file("memory://results/a.csv", "csv", resumed=True) as path, path.open("a") as file:
            file.write("2\n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert read_address("memory://results/a.csv") == b"1\n2\n"
    with local_file("memory://results/a.csv", "csv", replaced=True) as path:
        assert not path.exists()
    assert read_address("memory://results/a.csv") == b"1\n2\n"
