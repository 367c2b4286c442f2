# SPDX-License-Identifier: Apache-2.0
"""A folder that cannot be written to or is full is found early."""

import re
from pathlib import Path

import pytest
import torch

from rd_plugin.storage import check_folder, state_size


def test_folder_that_can_be_made_is_accepted_and_not_made(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b", 1, "default_root_dir")
    assert list(tmp_path.iterdir()) == []


def test_relative_folder_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_folder("results", 1, "default_root_dir")


def test_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    message = f"'{tmp_path / 'a' / 'b'}' cannot be written to: Not a directory. Give another folder as export_root."
    with pytest.raises(OSError, match=re.escape(message)):
        check_folder(tmp_path / "a" / "b", 0, "export_root")


def test_too_little_space(tmp_path: Path) -> None:
    message = f"'{tmp_path / 'a'}' needs 1073741824 MiB of free space, "
    with pytest.raises(OSError, match=re.escape(message)):
        check_folder(tmp_path / "a", 2**50, "default_root_dir")


def test_size_of_a_state() -> None:
    assert state_size(torch.nn.Linear(3, 2)) == 4 * (3 * 2 + 2)
