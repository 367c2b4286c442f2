# SPDX-License-Identifier: Apache-2.0
"""Killed or on a full disk, what changes a model leaves the old one as it was, and nothing half-written."""

import os
import shutil
import signal
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from rd_plugin.feedback import update_model
from rd_plugin.report import write_region_page
from rd_plugin.thresholds import write_threshold

from ..compatibility.make_files import FILES
from ..pictures import draw
from ..processes import run_function
from ..unit.feedback.conftest import other, save, trained_once  # noqa: F401  # a fixture
from .conftest import full_disk

Write = Callable[[Path], object]


def _threshold(folder: Path) -> None:
    write_threshold(folder / "model.ckpt", folder / "model.ckpt", 0.4, 0.4, {}, overwrite=True)


def _threshold_of_export(folder: Path) -> None:
    with patch.dict(os.environ, TRUST_REMOTE_CODE="1"):
        write_threshold(folder / "model.pt", folder / "model.pt", 0.4, 0.4, {}, overwrite=True)


def _update(folder: Path) -> None:
    update_model(folder / "model.ckpt", folder / "model.ckpt", sorted(folder.glob("new/*")), overwrite=True, threads=1)


def _page(folder: Path) -> None:
    write_region_page(folder / "roi.html", folder / "part.png")


def _killed(moment: str, write: Write, folder: Path) -> None:
    """Write, and be killed when half of the first file is written, or when it is whole but not yet in its place."""

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def half_saved(content: object, path: Path) -> None:
        buffer = BytesIO()
        saved(content, buffer)
        Path(path).write_bytes(buffer.getvalue()[: buffer.tell() // 2])
        die()

    def half_text(path: Path, text: str, **_: object) -> None:
        path.write_bytes(text.encode()[: len(text) // 2])
        die()

    saved = torch.save
    if moment == "half":
        with patch.object(torch, "save", half_saved), patch.object(Path, "write_text", half_text):
            write(folder)
    else:
        with patch.object(Path, "replace", die):
            write(folder)


def _files(folder: Path) -> dict[str, bytes]:
    """Files that a person sees, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name[0] != "."}


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with what a function writes again: a checkpoint and an export with their record, a page."""
    if request.getfixturevalue("write") is _update:
        model = request.getfixturevalue("trained_once")
        for suffix in (".ckpt", ".ckpt.sums", ".json"):
            shutil.copy(model.with_suffix(suffix), tmp_path / f"model{suffix}")
        save(tmp_path / "new", other(8, seed=3))
    else:
        shutil.copytree(FILES / "0.2.0" / "reverse_distillation", tmp_path, dirs_exist_ok=True)
    draw(tmp_path / "part.png", 128, (200, 100))
    (tmp_path / "roi.html").write_text("the page of before")
    return tmp_path


WRITERS = [_threshold, _threshold_of_export, _page, _update]


# Each writer once, and each moment twice; the others are slow.
@pytest.mark.parametrize(
    ("moment", "write"),
    [
        ("half", _threshold_of_export),
        ("half", _update),
        ("whole", _threshold),
        ("whole", _page),
        *(pytest.param("half", write, marks=pytest.mark.slow) for write in (_threshold, _page)),
        *(pytest.param("whole", write, marks=pytest.mark.slow) for write in (_threshold_of_export, _update)),
    ],
)
def test_killed_in_the_middle(write: Write, moment: str, folder: Path) -> None:
    before = _files(folder)
    done = run_function(folder, _killed, moment, write, folder, CUDA_VISIBLE_DEVICES="")
    assert done.status == -signal.SIGKILL, done.output
    assert _files(folder) == before
    # What is left is hidden, and named as what may be deleted.
    left = [path.name for path in folder.iterdir() if path.name[0] == "."]
    assert left
    assert all(name.endswith(".partial") for name in left)
    write(folder)
    assert _files(folder) != before


@pytest.mark.parametrize("write", WRITERS)
def test_disk_is_full(write: Write, folder: Path) -> None:
    before = _files(folder)
    with full_disk() as fill:
        fill()
        with pytest.raises((OSError, RuntimeError)):
            write(folder)
    assert _files(folder) == before
    assert not [path.name for path in folder.iterdir() if path.name[0] == "."]
