# SPDX-License-Identifier: Apache-2.0
"""Records beside checkpoints, as a training writes them."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import torch
from anomalib.data import ImageBatch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from rd_plugin import ExpertReverseDistillation, ReverseDistillation
from rd_plugin.callbacks import AtomicCheckpointIO, ProvenanceWriter, RecordedCheckpointIO
from rd_plugin.components import Teacher
from rd_plugin.models.distillation import Distillation
from rd_plugin.provenance import RECORD_KEY, Provenance, hash_weights

from ..models import base
from ..trainers import quiet_trainer

SMALL = {**base.SMALL, "image_size": 32}


def batches(count: int) -> DataLoader:
    batch = ImageBatch(image=torch.rand(2, 3, 32, 32), gt_label=torch.tensor([False, True]))
    return DataLoader([batch] * count, batch_size=None)


def fit(
    model: Distillation, folder: Path, *checkpoints: ModelCheckpoint, steps: int = 1, ckpt_path: Path | None = None
) -> Trainer:
    checkpointing = {"callbacks": list(checkpoints), "enable_checkpointing": bool(checkpoints)}
    trainer = quiet_trainer(folder, max_steps=steps, limit_val_batches=0, **checkpointing)
    trainer.fit(model, batches(steps), batches(1), ckpt_path=ckpt_path)
    return trainer


def record_of(checkpoint: Path) -> dict:
    return torch.load(checkpoint, weights_only=True)[RECORD_KEY]


def teacher_hash(teacher: Teacher) -> str:
    return hash_weights(teacher.state_dict())


def test_each_checkpoint_has_its_record_and_no_other_is_left(tmp_path: Path) -> None:
    checkpoints = [
        # Keeps the last one: those of steps 1 to 3 are removed.
        ModelCheckpoint(tmp_path / "one", "{step}", every_n_train_steps=1, save_last=True),
        ModelCheckpoint(tmp_path / "all", "{step}", every_n_train_steps=2, save_top_k=-1, save_weights_only=True),
    ]
    trainer = fit(ReverseDistillation(**SMALL), tmp_path, *checkpoints, steps=4)
    trainer.save_checkpoint(tmp_path / "by_hand.ckpt")
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
    names = {"one/step=4", "one/last", "all/step=2", "all/step=4", "by_hand"}
    assert found == {f"{name}.{suffix}" for name in names for suffix in ("ckpt", "json")}
    for name in names:
        record = json.loads((tmp_path / f"{name}.json").read_text())
        assert record == record_of(tmp_path / f"{name}.ckpt")
        assert record["steps"] == (2 if name.endswith("2") else 4)


def test_record_of_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "17")
    model = ReverseDistillation(**SMALL)
    teacher = teacher_hash(model.model.teacher)
    fit(model, tmp_path).save_checkpoint(tmp_path / "model.ckpt")
    record = record_of(tmp_path / "model.ckpt")
    assert record["seed"] == 17
    assert record["teacher"] == teacher
    assert record["versions"]["torch"]
    assert record["date"].endswith("+00:00")
    # Batches that come from no data module.
    assert record["data"] is None
    monkeypatch.delenv("PL_GLOBAL_SEED")
    fit(model, tmp_path)
    assert model.provenance.seed is None


@pytest.fixture
def weights(tmp_path: Path) -> tuple[Path, Path]:
    """Two files with pre-trained weights."""
    files = tmp_path / "first.pth", tmp_path / "second.pth"
    for file in files:
        torch.save(timm.create_model("test_resnet").state_dict(), file)
    return files


def test_trained_teacher_is_recorded_as_it_was_before(
    tmp_path: Path, weights: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    def build(file: Path) -> ExpertReverseDistillation:
        return ExpertReverseDistillation(**SMALL | {"pre_trained": file}, teacher_learning_rate=0.1)

    path = tmp_path / "model.ckpt"
    model = build(weights[0])
    fit(model, tmp_path).save_checkpoint(path)
    untaught = teacher_hash(build(weights[0]).model.teacher.expert())
    assert record_of(path)["teacher"] == untaught != teacher_hash(model.model.teacher)

    message = "The training continues with other pre-trained weights than before."
    for file, said in ((weights[0], False), (weights[1], True)):
        caplog.clear()
        resumed = build(file)
        fit(resumed, tmp_path, steps=2, ckpt_path=path)
        assert (resumed.provenance.teacher == untaught) != said
        assert (message in caplog.text) == said


@pytest.mark.parametrize(("before", "said"), [("new", False), ("old", True), (None, False)])
def test_training_that_goes_on_with_other_images(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, before: str | None, said: bool
) -> None:
    monkeypatch.setattr("rd_plugin.callbacks.provenance_writer._describe_data", lambda *_, **__: {"fingerprint": "new"})
    model = ReverseDistillation(**SMALL)
    model.provenance = Provenance(data=before and {"fingerprint": before})
    ProvenanceWriter().on_train_start(SimpleNamespace(is_global_zero=True), model)
    assert model.provenance.data == {"fingerprint": "new"}
    assert ("continues with other training images than before." in caplog.text) == said


def test_record_that_cannot_be_written_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "model.json").mkdir()
    with caplog.at_level(logging.WARNING):
        fit(ReverseDistillation(**SMALL), tmp_path).save_checkpoint(tmp_path / "model.ckpt")
    assert f"The record of {tmp_path / 'model.ckpt'} is left out" in caplog.text
    assert record_of(tmp_path / "model.ckpt")["steps"] == 1


def test_old_record_does_not_outlive_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError

    model = ReverseDistillation(**SMALL)
    trainer = fit(model, tmp_path)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    monkeypatch.setattr("rd_plugin.callbacks.provenance_writer.write_record", fail)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["model.ckpt"]


def test_checkpoints_are_written_by_the_plugin_that_was_there_once(tmp_path: Path) -> None:
    model = ReverseDistillation(**SMALL)
    trainer = fit(model, tmp_path)
    trainer.validate(model, batches(1))
    plugin = trainer.strategy.checkpoint_io
    assert type(plugin) is RecordedCheckpointIO
    assert type(plugin.base) is AtomicCheckpointIO


class Plugin(AtomicCheckpointIO):
    """A checkpoint plugin that knows what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple] = []

    def save_checkpoint(self, checkpoint: dict, path: str, storage_options: object = None) -> None:
        self.calls.append((checkpoint, path, storage_options))

    def load_checkpoint(self, path: str, **arguments: object) -> dict:
        self.calls.append((path, arguments))
        return {"pytorch-lightning_version": "2", "state_dict": {}}

    def remove_checkpoint(self, path: str) -> None:
        self.calls.append((path,))

    def teardown(self) -> None:
        self.calls.append(())


def test_everything_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    base = Plugin()
    plugin = RecordedCheckpointIO(base)
    checkpoint = {RECORD_KEY: Provenance().plain()}
    plugin.save_checkpoint(checkpoint, "s3://bucket/model.ckpt", storage_options="options")
    plugin.save_checkpoint({}, tmp_path / "foreign.ckpt")
    plugin.load_checkpoint("model.ckpt")
    plugin.load_checkpoint("model.ckpt", weights_only=False)
    plugin.remove_checkpoint("s3://bucket/model.ckpt")
    plugin.teardown()
    assert base.calls == [
        (checkpoint, "s3://bucket/model.ckpt", "options"),
        ({}, tmp_path / "foreign.ckpt", None),
        # Whatever torch's default is.
        ("model.ckpt", {"weights_only": True}),
        ("model.ckpt", {"weights_only": False}),
        ("s3://bucket/model.ckpt",),
        (),
    ]
    assert not list(tmp_path.iterdir())


def test_only_the_process_that_writes_records() -> None:
    model = ReverseDistillation(**SMALL)
    ProvenanceWriter().on_train_start(SimpleNamespace(is_global_zero=False), model)
    assert model.provenance is None
