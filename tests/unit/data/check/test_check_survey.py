# SPDX-License-Identifier: Apache-2.0
"""Files are looked at once, and again when they change."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rd_plugin.data.check import inspect_file, inspect_files, survey


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"{index}.png" for index in range(4)]
    for index, path in enumerate(paths):
        Image.fromarray(np.full((4, 4), index, dtype=np.uint8)).save(path)
    return [str(path) for path in paths]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files in the order in which they are read."""
    seen: list[str] = []
    monkeypatch.setattr(survey, "inspect_file", lambda path: seen.append(path) or inspect_file(path))
    return seen


def test_each_file_is_read_once(files: list[str], read: list[str]) -> None:
    facts = inspect_files([*files, *files])
    assert sorted(read) == files
    assert list(facts) == files


def test_unchanged_files_are_not_read_again(files: list[str], read: list[str], tmp_path: Path) -> None:
    memory = tmp_path / "folder" / "memory.json"
    first = inspect_files(files[:3], memory)
    read.clear()
    Image.fromarray(np.full((5, 5), 9, dtype=np.uint8)).save(files[1])
    second = inspect_files(files, memory)
    assert sorted(read) == [files[1], files[3]]
    assert second[files[0]] == first[files[0]]
    assert (second[files[1]].width, first[files[1]].width) == (5, 4)
    read.clear()
    assert inspect_files(files, memory) == second
    assert not read


def test_missing_files_are_looked_for_again(files: list[str], tmp_path: Path) -> None:
    memory, late = tmp_path / "memory.json", tmp_path / "late.png"
    assert inspect_files([str(late)], memory)[str(late)].error == "the file does not exist."
    late.write_bytes(Path(files[0]).read_bytes())
    assert inspect_files([str(late)], memory)[str(late)].error is None


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_memory_that_cannot_be_read_is_made_anew(files: list[str], tmp_path: Path, content: str) -> None:
    memory = tmp_path / "memory.json"
    memory.write_text(content)
    inspect_files(files, memory)
    assert set(json.loads(memory.read_text())) == set(files)


def test_memory_that_cannot_be_written_costs_a_warning(
    files: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        facts = inspect_files(files, tmp_path / "file" / "memory.json")
    assert len(facts) == 4
    assert "The data check's result could not be kept" in caplog.text
