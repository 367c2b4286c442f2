# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader

from rd_plugin import ReverseDistillation
from rd_plugin.callbacks import ValidationSchedule

from ..trainers import quiet_trainer

BATCHES = 3


class Trivial(LightningModule):
    """One weight; it writes down when it is trained and when it is validated."""

    def __init__(self, schedule: ValidationSchedule | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.schedule = schedule or ValidationSchedule()
        self.steps = 0
        self.validated_after: list[int] = []

    def configure_callbacks(self) -> list[Callback]:
        return [self.schedule]

    def training_step(self, batch: Tensor) -> Tensor:
        self.steps += 1
        self.log("loss", 1.0, on_epoch=True)
        return (self.weight * batch).sum()

    def validation_step(self, batch: Tensor) -> None:
        del batch
        self.validated_after.append(self.steps)
        self.log("metric", 1.0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(module: Trivial, tmp_path: Path, batches: int = BATCHES, **arguments: object) -> Trainer:
    trainer = quiet_trainer(tmp_path, num_sanity_val_steps=0, **arguments)
    trainer.fit(module, DataLoader(torch.ones(batches, 1)), DataLoader(torch.ones(1, 1)))
    return trainer


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        ({"max_epochs": 1}, 3),
        ({"max_epochs": 7}, 21),
        ({"max_epochs": 23}, 69),
        ({"max_steps": 1}, 1),
        ({"max_steps": 20}, 20),
        ({"max_steps": 21}, 21),
        ({"max_epochs": 50, "max_steps": 100}, 100),
        ({"max_epochs": 5, "max_steps": 100}, 15),
        ({"max_epochs": 4, "limit_train_batches": 2}, 8),
    ],
)
def test_last_step_is_followed_by_one_validation(tmp_path: Path, arguments: dict, steps: int) -> None:
    module = Trivial()
    fit(module, tmp_path, **arguments)
    assert module.steps == steps
    assert module.validated_after.count(steps) == 1
    assert sorted(set(module.validated_after)) == module.validated_after


@pytest.mark.parametrize("steps", [2, 5, 6])
def test_last_step_with_accumulated_gradients(tmp_path: Path, steps: int) -> None:
    module = Trivial()
    trainer = fit(module, tmp_path, batches=5, max_steps=steps, accumulate_grad_batches=2)
    assert trainer.global_step == steps
    assert module.validated_after.count(module.steps) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_epochs": 200},
        {"max_epochs": 203},
        {"max_steps": 300},
        {"max_steps": 301},
        {"max_epochs": -1, "max_steps": 299},
        {"max_epochs": 1000, "max_steps": 300},
        {"max_steps": 100, "accumulate_grad_batches": 3},
    ],
)
def test_about_five_validations_evenly_through_a_long_run(tmp_path: Path, arguments: dict) -> None:
    module = Trivial()
    fit(module, tmp_path, **arguments)
    assert 5 <= len(module.validated_after) <= 6
    assert module.validated_after[0] == pytest.approx(module.steps / 5, abs=2 * BATCHES)
    assert module.validated_after[3] == pytest.approx(4 * module.steps / 5, abs=4 * BATCHES)


@pytest.mark.parametrize("validations", [1, 2, 10])
def test_number_of_validations_can_be_chosen(tmp_path: Path, validations: int) -> None:
    module = Trivial(ValidationSchedule(validations))
    fit(module, tmp_path, batches=1, max_epochs=100)
    assert len(module.validated_after) == validations


@pytest.mark.parametrize("validations", [0, -3])
def test_at_least_one_validation(validations: int) -> None:
    with pytest.raises(ValueError, match=rf"validations must be at least 1, got {validations}"):
        ValidationSchedule(validations)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"check_val_every_n_epoch": 3}, [9, 18]),
        ({"val_check_interval": 2}, [2, 5, 8, 11, 14, 17, 20]),
        ({"val_check_interval": 4, "check_val_every_n_epoch": None}, [4, 8, 12, 16, 20]),
    ],
)
def test_the_users_schedule_is_left_alone(tmp_path: Path, arguments: dict, expected: list[int]) -> None:
    module = Trivial()
    trainer = fit(module, tmp_path, max_epochs=7, **arguments)
    assert module.validated_after == expected
    for name, value in arguments.items():
        assert getattr(trainer, name) == value


class StopAfter(Callback):
    """Ask the trainer to stop, as early stopping, a timer or a signal does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step >= self.step


class StopAfterEpoch(Callback):
    """Ask the trainer to stop when an epoch is over."""

    def on_train_epoch_end(self, trainer: Trainer, *_: object) -> None:
        trainer.should_stop = True


@pytest.mark.parametrize("callbacks", [[], [StopAfterEpoch()]])
def test_trainer_is_left_as_it_was(tmp_path: Path, callbacks: list[Callback]) -> None:
    trainer = fit(Trivial(), tmp_path, max_epochs=11, callbacks=callbacks)
    assert trainer.check_val_every_n_epoch == 1


@pytest.mark.parametrize("step", [4, 6])
def test_run_that_is_stopped_is_validated(tmp_path: Path, step: int) -> None:
    module = Trivial()
    fit(module, tmp_path, max_epochs=100, callbacks=[StopAfter(step)])
    assert module.steps == step
    assert module.validated_after == [step]


@pytest.mark.parametrize("monitor", ["metric", "loss"])
def test_early_stopping_finds_its_metric_and_ends_in_a_validation(tmp_path: Path, monitor: str) -> None:
    module = Trivial()
    fit(module, tmp_path, max_epochs=100, callbacks=[EarlyStopping(monitor, patience=2)])
    assert module.steps < 100 * BATCHES
    assert module.validated_after[-1] == module.steps


def test_continued_run_ends_in_a_validation(tmp_path: Path) -> None:
    checkpoints = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1)
    fit(Trivial(), tmp_path, max_steps=20, callbacks=[checkpoints], enable_checkpointing=True)
    module = Trivial()
    trainer = quiet_trainer(tmp_path, num_sanity_val_steps=0, max_steps=25)
    loaders = DataLoader(torch.ones(BATCHES, 1)), DataLoader(torch.ones(1, 1))
    trainer.fit(module, *loaders, ckpt_path=tmp_path / "step=20.ckpt")
    assert trainer.global_step == 25
    assert module.validated_after[-1] == module.steps == 5


def test_schedule_of_a_model_can_be_chosen() -> None:
    def schedules(**arguments: object) -> list[int]:
        callbacks = ReverseDistillation("test_resnet", pre_trained=False, **arguments).configure_callbacks()
        return [callback.validations for callback in callbacks if isinstance(callback, ValidationSchedule)]

    assert (schedules(), schedules(validations=2), schedules(validations=None)) == ([5], [2], [])
