# SPDX-License-Identifier: Apache-2.0
"""A run that is cut off says what is kept of it."""

import errno
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch.distributed
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from rd_plugin.callbacks import ResultsFolder, results_folder
from rd_plugin.callbacks.results_folder import keep_to_own_run, relink_newest


def _trainer(folder: Path, resumed: Path | None = None) -> SimpleNamespace:
    callbacks = [ModelCheckpoint(dirpath=folder)]
    run = {"world_size": 1, "ckpt_path": resumed, "default_root_dir": folder.parent}
    return SimpleNamespace(checkpoint_callbacks=callbacks, **run)


def kept(checkpoint: Path) -> str:
    return f"The last good checkpoint is kept, '{checkpoint}'; continue from it with --ckpt_path."


FULL = (errno.ENOSPC, "No space left on device")


def _logged(caplog: pytest.LogCaptureFixture, trainer: SimpleNamespace, *arguments: object) -> str:
    ResultsFolder().on_exception(trainer, LightningModule(), OSError(*arguments))
    return "".join(caplog.messages)


def test_full_disk_names_the_checkpoint_that_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = tmp_path / "weights" / "model.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    message = _logged(caplog, _trainer(checkpoint.parent), *FULL, "twins.png")
    assert message == f"twins.png could not be written. {kept(checkpoint)}"


def test_full_disk_in_a_resumed_run_names_the_checkpoint_that_it_came_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "earlier.ckpt").touch()
    message = _logged(caplog, _trainer(tmp_path / "weights", tmp_path / "earlier.ckpt"), *FULL)
    assert message == f"{tmp_path} could not be written. {kept(tmp_path / 'earlier.ckpt')}"


def test_full_disk_before_the_first_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert "There is no checkpoint yet." in _logged(caplog, _trainer(tmp_path / "weights"), *FULL)


def test_remote_folder_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = _trainer(Path())
    trainer.is_global_zero = True
    trainer.checkpoint_callbacks[0].dirpath = "s3://bucket/weights"
    monkeypatch.setattr(results_folder, "check_folder", lambda *_: pytest.fail("a remote folder was looked at"))
    ResultsFolder().setup(trainer, LightningModule(), "fit")


def test_other_errors_are_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not _logged(caplog, _trainer(tmp_path), errno.ENOENT, "No such file or directory", "image.png")


@pytest.mark.parametrize("written", [True, False])
def test_stopped_run_fails_and_names_its_checkpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, written: bool
) -> None:
    trainer = _trainer(tmp_path)
    trainer.state, trainer.global_step = SimpleNamespace(fn=TrainerFn.FITTING), 7
    checkpoint = tmp_path / "model.ckpt"
    if written:
        checkpoint.touch()
    stop = SIGTERMException()
    ResultsFolder().on_exception(trainer, LightningModule(), stop)
    assert stop.code == 128 + 15
    end = kept(checkpoint) if written else "There is no checkpoint yet."
    assert caplog.messages == [f"The run was stopped after step 7. {end}"]


def test_stopped_prediction_ends() -> None:
    ResultsFolder().on_predict_batch_end(SimpleNamespace(received_sigterm=False))
    with pytest.raises(SIGTERMException):
        ResultsFolder().on_predict_batch_end(SimpleNamespace(received_sigterm=True))


def _run(root: Path, name: str) -> Path:
    """A run's folder with its checkpoint; ``latest`` leads to it as anomalib's link does."""
    checkpoint = root / name / "weights" / "lightning" / "model.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    (root / "latest").unlink(missing_ok=True)
    (root / "latest").symlink_to((root / name).absolute())
    return checkpoint


def _testing(folder: Path, checkpoint: Path | None, callbacks: Sequence[object] = ()) -> str:
    trainer = Trainer(default_root_dir=folder, accelerator="cpu", logger=False, enable_progress_bar=False)
    trainer.state.fn = TrainerFn.TESTING
    trainer.callbacks = list(callbacks)
    trainer._checkpoint_connector._ckpt_path = checkpoint
    keep_to_own_run(trainer)
    return trainer.default_root_dir


def test_results_of_an_older_run_go_beside_its_checkpoint(tmp_path: Path) -> None:
    first, second = _run(tmp_path, "v0"), _run(tmp_path, "v1")
    assert _testing(tmp_path / "v1", first) == str(tmp_path / "v0")
    assert _testing(tmp_path / "v1", second) == str(tmp_path / "v1")
    # The command line tells the checkpoint before it is loaded.
    assert _testing(tmp_path / "v1", None, [SaveConfigCallback(None, {"ckpt_path": first})]) == str(tmp_path / "v0")
    # A folder of the user's own is no run.
    assert _testing(tmp_path / "mine", first) == str(tmp_path / "mine")
    assert _testing(tmp_path / "v1", None) == str(tmp_path / "v1")


def test_a_test_makes_no_folder_in_place_of_the_link(tmp_path: Path) -> None:
    checkpoint = _run(tmp_path / "a", "v0")
    assert _testing(tmp_path / "b" / "latest", checkpoint) == str(tmp_path / "b" / "v0")


def test_link_to_the_newest_run_survives_a_move(tmp_path: Path) -> None:
    _run(tmp_path / "results", "v0")
    relink_newest(tmp_path / "results" / "v0")
    (tmp_path / "results").rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "latest").resolve() == tmp_path / "moved" / "v0"
    assert sorted(path.name for path in (tmp_path / "moved").iterdir()) == ["latest", "v0"]


def test_other_links_and_folders_called_latest_are_left(tmp_path: Path) -> None:
    _run(tmp_path, "v0")
    before = (tmp_path / "latest").readlink()
    (tmp_path / "v1").mkdir()
    relink_newest(tmp_path / "v1")
    assert (tmp_path / "latest").readlink() == before
    (tmp_path / "latest").unlink()
    (tmp_path / "latest").mkdir()
    relink_newest(tmp_path / "v1")
    assert not (tmp_path / "latest").is_symlink()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:41223"),
        torch.distributed.DistBackendError("NCCL error: remote process exited"),
    ],
)
def test_process_that_has_lost_another_ends_with_a_sentence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    (tmp_path / "model.ckpt").touch()
    trainer = _trainer(tmp_path)
    trainer.world_size, trainer.global_rank, trainer.global_step = 4, 2, 7
    with pytest.raises(SystemExit) as ended:
        ResultsFolder().on_exception(trainer, LightningModule(), error)
    assert ended.value.code == 1
    (message,) = caplog.messages
    assert message.startswith("Process 2 of 4 was stopped after step 7: another one has ended.")
    assert message.endswith(kept(tmp_path / "model.ckpt"))


def test_other_errors_of_several_processes_are_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = _trainer(tmp_path)
    trainer.world_size = 4
    ResultsFolder().on_exception(trainer, LightningModule(), RuntimeError("out of memory"))
    assert not caplog.messages


def test_processes_write_into_the_folder_of_the_first(tmp_path: Path) -> None:
    first, own = tmp_path / "v0", tmp_path / "v1"
    for run in (first, own):
        run.mkdir()
    (tmp_path / "latest").symlink_to(own)
    trainers = []
    for rank, run in enumerate((first, own)):
        strategy = SimpleNamespace(broadcast=lambda _: str(first))
        several = {"world_size": 2, "is_global_zero": rank == 0, "strategy": strategy, "checkpoint_callbacks": []}
        trainers.append(SimpleNamespace(default_root_dir=str(run), _default_root_dir=str(run), **several))
        ResultsFolder().setup(trainers[-1], LightningModule(), "fit")
    assert [trainer._default_root_dir for trainer in trainers] == [str(first)] * 2
    assert not own.exists()
    assert (tmp_path / "latest").readlink() == Path("v0")
