# SPDX-License-Identifier: Apache-2.0
"""Checkpoints are there whole or not at all."""

import errno
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from anomalib.engine.plugins.checkpoint_io import AnomalibCheckpointIO
from lightning.pytorch.plugins import AsyncCheckpointIO, CheckpointIO, TorchCheckpointIO

from rd_plugin.callbacks import AtomicCheckpointIO, AtomicCheckpoints

OLD, NEW = ({"state_dict": {"weight": torch.full((50_000,), value)}} for value in (0.0, 1.0))


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """Let writes fail at ``size`` bytes, as on a full disk."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An old checkpoint."""
    AtomicCheckpointIO().save_checkpoint(OLD, tmp_path / "weights" / "model.ckpt")
    return tmp_path / "weights" / "model.ckpt"


def _value(path: Path) -> float:
    return float(AtomicCheckpointIO().load_checkpoint(path)["state_dict"]["weight"][0])


def test_full_disk_keeps_the_old_checkpoint(path: Path) -> None:
    with _largest_file(100_000), pytest.raises(OSError, match=r"model\.ckpt") as caught:
        AtomicCheckpointIO().save_checkpoint(NEW, path)
    assert caught.value.errno == errno.EFBIG
    assert _value(path) == 0
    assert list(path.parent.iterdir()) == [path]


def test_folder_for_temporary_files_is_not_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is moved from another disk is copied, and a kill leaves half of it."""
    monkeypatch.setattr(tempfile, "tempdir", str(path / "none"))
    AtomicCheckpointIO().save_checkpoint(NEW, str(path))
    assert _value(path) == 1
    assert list(path.parent.iterdir()) == [path]


def test_refused_write_is_not_passed_over(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", *args)

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(PermissionError, match=r"Permission denied: '.*model\.ckpt'"):
        AtomicCheckpointIO().save_checkpoint(NEW, path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_kill_before_the_renaming_keeps_the_old_checkpoint(path: Path) -> None:
    child = os.fork()
    if child == 0:
        try:
            os.fsync = lambda _descriptor: os.kill(os.getpid(), signal.SIGKILL)
            AtomicCheckpointIO().save_checkpoint(NEW, path)
        finally:
            # Never go on as a second process of the tests.
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert _value(path) == 0
    (partial,) = set(path.parent.iterdir()) - {path}
    assert partial.suffix == ".partial"


def test_remote_path_is_left_to_lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TorchCheckpointIO, "save_checkpoint", lambda _self, *args: saved.append(args))
    saved: list[tuple] = []
    AtomicCheckpointIO().save_checkpoint(NEW, "s3://bucket/model.ckpt")
    assert saved == [(NEW, "s3://bucket/model.ckpt", None)]


class _Own(TorchCheckpointIO):
    """A plugin of the user's."""


@pytest.mark.parametrize(
    ("plugin", "replaced"),
    [(TorchCheckpointIO(), True), (AnomalibCheckpointIO(), True), (_Own(), False), (AsyncCheckpointIO(), False)],
)
def test_only_default_plugins_are_replaced(plugin: CheckpointIO, replaced: bool) -> None:
    trainer = SimpleNamespace(strategy=SimpleNamespace(checkpoint_io=plugin))
    AtomicCheckpoints().setup(trainer, SimpleNamespace(checkpoint_safe_globals=list), "fit")
    assert isinstance(trainer.strategy.checkpoint_io, AtomicCheckpointIO) == replaced
    assert (trainer.strategy.checkpoint_io is plugin) != replaced


def test_types_that_the_model_allows_can_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="Weights only load failed"):
        AtomicCheckpointIO().load_checkpoint(_saved(tmp_path))
    assert AtomicCheckpointIO([SimpleNamespace]).load_checkpoint(_saved(tmp_path))["own"].answer == 42


def _saved(folder: Path) -> Path:
    AtomicCheckpointIO().save_checkpoint({"own": SimpleNamespace(answer=42)}, folder / "model.ckpt")
    return folder / "model.ckpt"
