# SPDX-License-Identifier: Apache-2.0
"""Faults in the middle of a run: one clear message each, and the last good checkpoint is kept."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from anomalib.callbacks import ModelCheckpoint
from anomalib.deploy import ExportType
from anomalib.engine import Engine
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image

from rd_plugin import FusedReverseDistillation, MVTec, ReverseDistillation
from rd_plugin.callbacks import results_folder
from rd_plugin.commands.tool import main
from rd_plugin.models.distillation import Distillation

from ..processes import run_function
from .conftest import METHODS, SIZE, Method, cpu_engine, full_disk, one_method, tile_data

BACKBONE = "test_resnet.r160_in1k"
STEPS_PER_EPOCH = 3


def _model(method: Method = ReverseDistillation) -> Distillation:
    # The fused model validates once by itself, at the end, and leaves no checkpoint before.
    schedule = {"validations": None} if method is FusedReverseDistillation else {}
    return method(BACKBONE, pre_trained=False, pre_processor=method.configure_pre_processor((SIZE, SIZE)), **schedule)


def _engine(folder: Path, *callbacks: Callback, **arguments: object) -> Engine:
    """An engine that does not validate; a checkpoint is written after each epoch."""
    return cpu_engine(folder, callbacks=list(callbacks), **{"max_epochs": 2, "limit_val_batches": 0, **arguments})


class _InSecondEpoch(Callback):
    """Do something to the model at the start of the second epoch."""

    def __init__(self, action: Callable[[LightningModule], Any]) -> None:
        self.action = action

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1:
            self.action(pl_module)


class _LostGradients(Callback):
    """Give the last step of the second epoch a finite loss with gradients that are not."""

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        del pl_module
        if trainer.global_step == 2 * STEPS_PER_EPOCH - 1:
            optimizer.param_groups[0]["params"][0].grad.fill_(float("nan"))


def _lose_weights(model: LightningModule) -> None:
    with torch.no_grad():
        next(model.model.student.parameters()).fill_(float("nan"))


def _assert_kept(folder: Path, method: Method) -> Path:
    """Make sure that there is the checkpoint of the first epoch, whole, and nothing else of the kind."""
    (checkpoint,) = folder.glob("**/*.ckpt")
    assert not list(folder.rglob("*.partial"))
    assert torch.load(checkpoint, weights_only=False)["global_step"] == STEPS_PER_EPOCH
    state = method.load_from_checkpoint(checkpoint).model.state_dict()
    assert all(tensor.isfinite().all() for tensor in state.values())
    return checkpoint


def test_loss_that_is_not_finite_keeps_the_last_checkpoint(method: Method, mvtec_root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"loss at step {STEPS_PER_EPOCH} is not finite"):
        _engine(tmp_path, _InSecondEpoch(_lose_weights)).fit(_model(method), datamodule=tile_data(mvtec_root))
    _assert_kept(tmp_path, method)


@one_method
def test_weights_that_are_not_finite_are_not_saved(method: Method, mvtec_root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"1 weights are not finite after step 6, .* No checkpoint is written"):
        _engine(tmp_path, _LostGradients(), limit_val_batches=1.0).fit(_model(method), datamodule=tile_data(mvtec_root))
    _assert_kept(tmp_path, method)


def test_disk_that_fills_up_keeps_the_last_checkpoint(
    mvtec_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with full_disk() as fill, pytest.raises(OSError, match=r"No space|File too large") as caught:
        _engine(tmp_path, _InSecondEpoch(fill)).fit(_model(), datamodule=tile_data(mvtec_root))
    checkpoint = _assert_kept(tmp_path, ReverseDistillation)
    assert caught.value.filename == str(checkpoint)
    kept = f"The last good checkpoint is kept, '{checkpoint}'; continue from it with --ckpt_path."
    assert f"{checkpoint} could not be written. {kept}" in caplog.messages
    steps = []
    resumed = _engine(tmp_path, _InSecondEpoch(lambda model: steps.append(model.global_step)))
    resumed.fit(_model(), datamodule=tile_data(mvtec_root), ckpt_path=checkpoint)
    assert steps == [STEPS_PER_EPOCH]


def test_disk_that_is_full_of_pictures(mvtec_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine, model, data = _engine(tmp_path), _model(), tile_data(mvtec_root)
    engine.test(model, datamodule=data)
    pictures = {path: path.read_bytes() for path in tmp_path.glob("**/images/**/*.png")}
    assert len(pictures) == 12
    with full_disk() as fill:
        fill()
        (metrics,) = engine.test(model, datamodule=data)
    # Pictures are a courtesy: figures are there, each picture is whole, new or old, and a warning says what is missing.
    assert "image_AUROC" in metrics
    assert [line for line in caplog.messages if "The rest of the pictures is left out" in line]
    assert set(tmp_path.glob("**/images/**/*.png")) == set(pictures)
    for path in pictures:
        with Image.open(path) as picture:
            picture.load()
    assert not list(tmp_path.rglob("*.partial"))


# All are written to a hidden folder, and moved.
@pytest.mark.parametrize(
    "kind",
    [
        ExportType.TORCH,
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in (ExportType.OPENVINO, ExportType.ONNX)),
    ],
)
def test_disk_that_is_full_at_an_export_leaves_the_old_one(kind: ExportType, tmp_path: Path) -> None:
    model = _model()
    file = _engine(tmp_path).export(model, kind, export_root=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with full_disk() as fill:
        fill()
        with pytest.raises((OSError, RuntimeError)):
            _engine(tmp_path).export(model, kind, export_root=tmp_path)
    assert file in before
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@one_method
@pytest.mark.parametrize("option", ["--csv", "--jsonl"])
def test_disk_that_is_full_of_verdicts(
    option: str, exported: Path, mvtec_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "verdicts"
    arguments = ["inspect", str(exported), str(mvtec_root / "tile" / "test"), option, str(table)]
    with full_disk() as fill:
        fill()
        with pytest.raises(SystemExit) as caught:
            main(arguments)
    assert caught.value.code == 2
    assert "File too large" in (errors := capsys.readouterr().err)
    assert str(table) in errors
    # What was told was kept.
    assert 0 < len(table.read_text().splitlines()) < 12
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--resume"])
    assert not caught.value.code
    assert len(table.read_text().splitlines()) == 12 + (option == "--csv")


def test_too_little_space_stops_before_the_data_is_read(
    mvtec_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=30 * 2**20))
    message = (
        r"weights/lightning' needs 32 MiB of free space, but only 30 MiB are free\. .* folder as default_root_dir\.$"
    )
    with pytest.raises(OSError, match=message):
        _engine(tmp_path).fit(_model(), datamodule=tile_data(mvtec_root))
    assert not list(tmp_path.rglob("*.json"))


# What the fused model learns beside its weights has no size before it is learned.
@pytest.mark.parametrize("method", METHODS[:2], indirect=True)
def test_space_asked_for_is_that_of_two_checkpoints(
    method: Method, mvtec_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(results_folder, "check_folder", lambda _folder, needed, _argument: asked.append(needed))
    _engine(tmp_path, max_steps=1).fit(_model(method), datamodule=tile_data(mvtec_root))
    (checkpoint,) = tmp_path.glob("**/*.ckpt")
    assert asked == [pytest.approx(2 * checkpoint.stat().st_size, rel=0.02)]


def test_folder_that_cannot_be_written_to_stops_before_the_data_is_read(mvtec_root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    engine = _engine(tmp_path / "results", ModelCheckpoint(dirpath=tmp_path / "file" / "weights"))
    with pytest.raises(OSError, match=r"weights' cannot be written to: Not a directory\. .* as default_root_dir\.$"):
        engine.fit(_model(), datamodule=tile_data(mvtec_root))
    assert not list(tmp_path.rglob("*.json"))


class _Terminated(Callback):
    """Send the process the signal that asks it to stop, when a hook has been called so many times."""

    def __init__(self, hook: str, count: int) -> None:
        self.count = count
        setattr(self, hook, self._hooked)

    def _hooked(self, *_: object, **__: object) -> None:
        self.count -= 1
        if self.count == 0:
            signal.raise_signal(signal.SIGTERM)


def _run_until_terminated(stage: str, root: Path, folder: Path, hook: str, count: int) -> None:
    """Run a stage of the engine in this process, and have it told to stop."""
    engine = _engine(folder, _Terminated(hook, count), limit_val_batches=1.0, check_val_every_n_epoch=1)
    data = MVTec(root, "tile", train_batch_size=4, eval_batch_size=4, num_workers=0)
    getattr(engine, stage)(_model(), datamodule=data)


@pytest.mark.parametrize(
    ("hook", "count", "steps"),
    [
        pytest.param("on_train_batch_end", 1, None, marks=pytest.mark.slow),
        ("on_train_batch_end", STEPS_PER_EPOCH + 1, STEPS_PER_EPOCH),
        ("on_validation_batch_start", 1, None),
        pytest.param("on_validation_batch_start", 4, STEPS_PER_EPOCH, marks=pytest.mark.slow),
    ],
)
def test_stopped_training_fails(mvtec_root: Path, tmp_path: Path, hook: str, count: int, steps: int | None) -> None:
    done = run_function(tmp_path, _run_until_terminated, "train", mvtec_root, tmp_path, hook, count)
    assert done.status == 128 + signal.SIGTERM, done.output[-3000:]
    checkpoints = list(tmp_path.glob("**/*.ckpt"))
    assert "The run was stopped after step" in done.output
    if steps is None:
        assert checkpoints == []
        assert ". There is no checkpoint yet." in done.output
    else:
        kept = f"The last good checkpoint is kept, '{checkpoints[0]}'; continue from it with --ckpt_path."
        assert kept in done.output
        assert torch.load(checkpoints[0], weights_only=False)["global_step"] == steps


@pytest.mark.parametrize("stage", [pytest.param("validate", marks=pytest.mark.slow), "test", "predict"])
def test_stopped_evaluation_fails(mvtec_root: Path, tmp_path: Path, stage: str) -> None:
    hook = f"on_{'validation' if stage == 'validate' else stage}_batch_start"
    done = run_function(tmp_path, _run_until_terminated, stage, mvtec_root, tmp_path, hook, 2)
    assert done.status == 128 + signal.SIGTERM, done.output[-3000:]
    assert "The run was stopped." in done.output


def _train_beside(killed: bool, root: Path, folder: Path) -> None:
    # At once, with nothing put in order.
    callbacks = [_InSecondEpoch(lambda _: os.kill(os.getpid(), signal.SIGKILL))] if killed else []
    # anomalib counts the versions that are there, and does not expect another to do so at the same moment.
    while not killed and not list(folder.glob("**/v0/weights")):
        time.sleep(0.05)
    _engine(folder, *callbacks, limit_val_batches=1.0).train(_model(), datamodule=tile_data(root))


def test_two_trainings_in_one_folder_of_which_one_is_killed(mvtec_root: Path, tmp_path: Path) -> None:
    """Each has a version of its own; the killed one's last checkpoint is whole, the other's run is complete."""
    with ThreadPoolExecutor(2) as pool:
        started = [pool.submit(run_function, tmp_path, _train_beside, k, mvtec_root, tmp_path) for k in (True, False)]
        killed, finished = (run.result(900) for run in started)
    assert killed.status == -signal.SIGKILL, killed.output[-3000:]
    assert finished.status == 0, finished.output[-3000:]
    checkpoints = tmp_path.glob("**/v[0-9]/**/*.ckpt")
    steps = {torch.load(checkpoint, weights_only=False)["global_step"] for checkpoint in checkpoints}
    assert steps == {STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH}


def _export_until_terminated(folder: Path) -> None:
    """Export a model, and be told to stop when half of the file is written."""

    def save(f: Path, **_: object) -> None:
        Path(f).write_bytes(b"half")
        signal.raise_signal(signal.SIGTERM)

    torch.save = save
    Engine().export(_model(), ExportType.TORCH, export_root=folder)


def test_stopped_export_leaves_the_old_one(tmp_path: Path) -> None:
    path = Engine().export(_model(), ExportType.TORCH, export_root=tmp_path)
    before = path.read_bytes()
    assert run_function(tmp_path, _export_until_terminated, tmp_path).status == -signal.SIGTERM
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir() if file.suffix == ".pt"] == [path.name]


def test_export_into_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file' cannot be written to: Not a directory\. .* as export_root\.$"):
        Engine().export(_model(), ExportType.TORCH, export_root=tmp_path / "file")
