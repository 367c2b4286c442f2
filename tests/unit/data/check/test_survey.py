# SPDX-License-Identifier: Apache-2.0
"""Files are looked at once, and again when they change."""

import json
import logging
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rd_plugin.data.check import FileFacts, inspect_file, inspect_files, survey


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
    monkeypatch.setattr(survey, "inspect_file", lambda path, **_: seen.append(path) or inspect_file(path))
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


def test_unchanged_files_at_an_address_are_not_read_again(files: list[str], read: list[str], tmp_path: Path) -> None:
    memory, addresses = tmp_path / "memory.json", [f"file://{file}" for file in files]
    first = inspect_files(addresses, memory)
    assert [facts.width for facts in first.values()] == [4] * 4
    read.clear()
    Image.fromarray(np.full((5, 5), 9, dtype=np.uint8)).save(files[1])
    inspect_files(addresses, memory)
    assert read == [addresses[1]]


def test_missing_files_are_looked_for_again(files: list[str], tmp_path: Path) -> None:
    memory, late = tmp_path / "memory.json", tmp_path / "late.png"
    assert inspect_files([str(late)], memory)[str(late)].error == "the file does not exist."
    late.write_bytes(Path(files[0]).read_bytes())
    assert inspect_files([str(late)], memory)[str(late)].error is None


def _entry(**changes: object) -> dict:
    facts = {**asdict(FileFacts("1", 4, 4, "L")), **changes}
    return {"stamp": [1, 2, 3, 4], "facts": {name: value for name, value in facts.items() if value != "absent"}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1]",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        *(
            json.dumps({"other.png": entry}).encode()
            for entry in (
                _entry(later=1),
                _entry(frames="absent"),
                _entry(width="4"),
                {"stamp": [1], "facts": None},
                {"facts": {}},
                None,
            )
        ),
    ],
)
def test_memory_that_is_not_ours_is_replaced_with_a_note(
    files: list[str], tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    memory = tmp_path / "memory.json"
    memory.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        facts = inspect_files(files, memory)
    assert all(fact.error is None for fact in facts.values())
    assert set(json.loads(memory.read_text())) == set(files)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(str(memory))
    assert "created again" in caplog.messages[0]


def test_entry_of_another_version_is_not_believed(files: list[str], tmp_path: Path) -> None:
    memory = tmp_path / "memory.json"
    first = inspect_files(files, memory)
    known = json.loads(memory.read_text())
    known[files[0]]["facts"] = {"sum": "1"}
    known[files[1]] = ["a", "b"]
    memory.write_text(json.dumps(known))
    assert inspect_files(files, memory) == first


def test_change_that_keeps_size_and_time_is_noticed(files: list[str], tmp_path: Path) -> None:
    memory, changed, replaced = tmp_path / "memory.json", Path(files[0]), Path(files[1])
    before = inspect_files(files, memory)
    for path in (changed, replaced):
        status = path.stat()
        content = path.read_bytes()
        if path == replaced:
            path.unlink()
        # Behind the end of the image, so that only the digest tells.
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    after = inspect_files(files, memory)
    assert [after[path].digest != before[path].digest for path in files] == [True, True, False, False]


def test_other_limit_of_pixels_is_used(files: list[str], tmp_path: Path) -> None:
    memory = tmp_path / "memory.json"
    errors = [{fact.error is None for fact in inspect_files(files, memory, limit).values()} for limit in (16, 15, 16)]
    assert errors == [{True}, {False}, {True}]


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
