# SPDX-License-Identifier: Apache-2.0
"""A folder that cannot be written to or is full is found early, or explained."""

import errno
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint

from rd_plugin.callbacks import ResultsFolder, results_folder
from rd_plugin.callbacks.results_folder import check_folder


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


def _trainer(folder: Path, resumed: Path | None = None) -> SimpleNamespace:
    callbacks = [ModelCheckpoint(dirpath=folder)]
    return SimpleNamespace(checkpoint_callbacks=callbacks, ckpt_path=resumed, default_root_dir=folder.parent)


def _explained(trainer: SimpleNamespace, *arguments: object) -> str:
    error = OSError(*arguments)
    ResultsFolder().on_exception(trainer, LightningModule(), error)
    return str(error)


FULL = (errno.ENOSPC, "No space left on device")


def test_full_disk_names_the_checkpoint_that_is_kept(tmp_path: Path) -> None:
    checkpoint = tmp_path / "weights" / "model.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    assert _explained(_trainer(checkpoint.parent), *FULL, "twins.png") == (
        f"[Errno {errno.ENOSPC}] No space left on device. The last good checkpoint is kept, '{checkpoint}'. "
        "Could not be written: 'twins.png'"
    )


def test_full_disk_in_a_resumed_run_names_the_checkpoint_that_it_came_from(tmp_path: Path) -> None:
    (tmp_path / "earlier.ckpt").touch()
    message = _explained(_trainer(tmp_path / "weights", tmp_path / "earlier.ckpt"), *FULL)
    assert f"is kept, '{tmp_path / 'earlier.ckpt'}'. Could not be written: '{tmp_path}'" in message


def test_full_disk_before_the_first_checkpoint(tmp_path: Path) -> None:
    assert "device. There is no checkpoint yet. Could not be" in _explained(_trainer(tmp_path / "weights"), *FULL)


def test_remote_folder_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = _trainer(Path())
    trainer.is_global_zero = True
    trainer.checkpoint_callbacks[0].dirpath = "s3://bucket/weights"
    monkeypatch.setattr(results_folder, "check_folder", lambda *_: pytest.fail("a remote folder was looked at"))
    ResultsFolder().setup(trainer, LightningModule(), "fit")


def test_other_errors_are_left_alone(tmp_path: Path) -> None:
    arguments = (errno.ENOENT, "No such file or directory", "image.png")
    assert _explained(_trainer(tmp_path), *arguments) == str(OSError(*arguments))
