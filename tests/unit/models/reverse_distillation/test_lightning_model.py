# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch
from anomalib import LearningType
from anomalib.data import ImageBatch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader, Dataset

from rd_plugin import ReverseDistillation
from rd_plugin.evaluator import DistillationEvaluator

SMALL = {"backbone": "resnet18", "layers": ["layer1"], "pre_trained": False, "visualizer": False}


def build(**arguments: object) -> ReverseDistillation:
    return ReverseDistillation(**{**SMALL, **arguments})


def batch() -> ImageBatch:
    return ImageBatch(image=torch.rand(2, 3, 32, 32), gt_label=torch.tensor([False, True]))


def loader() -> DataLoader:
    return DataLoader([batch(), batch()], batch_size=None)


class StopAtOnce(Callback):
    """Write down the limits of a run that starts, and end it before its first step."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del pl_module
        self.limits = (trainer.max_epochs, trainer.max_steps)
        trainer.should_stop = True


def limits(tmp_path: Path, **arguments: object) -> tuple[int | None, int]:
    callback = StopAtOnce()
    trainer = Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback],
        **arguments,
    )
    trainer.fit(build(), loader(), loader())
    assert trainer.global_step == 0
    return callback.limits


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, (200, -1)),
        ({"max_epochs": 1000}, (1000, -1)),
        ({"max_epochs": 3}, (3, -1)),
        ({"max_epochs": -1}, (-1, -1)),
        ({"max_steps": 7}, (-1, 7)),
        ({"max_epochs": 5, "max_steps": 7}, (5, 7)),
        ({"max_time": "00:00:01:00"}, (-1, -1)),
    ],
)
def test_paper_trains_200_epochs_unless_a_limit_is_given(tmp_path: Path, arguments: dict, expected: tuple) -> None:
    assert limits(tmp_path, **arguments) == expected


def test_optimizer_is_the_papers_and_leaves_the_teacher_out() -> None:
    model = build()
    optimizer = model.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Adam)
    assert (optimizer.defaults["lr"], optimizer.defaults["betas"]) == (0.005, (0.5, 0.999))
    optimized = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    network = model.model
    assert optimized == {id(p) for part in (network.bottleneck, network.student) for p in part.parameters()}


def test_optimizer_arguments() -> None:
    defaults = build(learning_rate=0.1, betas=(0.8, 0.9)).configure_optimizers().defaults
    assert (defaults["lr"], defaults["betas"]) == (0.1, (0.8, 0.9))


@pytest.mark.parametrize("loss", ["flattened", "per_pixel"])
def test_training_lowers_the_loss(tmp_path: Path, loss: str) -> None:
    model = build(loss=loss)
    images = batch()
    before = model.train().loss(*model.model(images.image)).item()
    trainer = Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        max_steps=10,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader([images] * 10, batch_size=None), loader())
    assert trainer.callback_metrics["train_loss_step"] < before


@torch.no_grad()
def test_validation_step_adds_predictions() -> None:
    predictions = build().eval().validation_step(batch(), 0)
    assert predictions.anomaly_map.shape == (2, 32, 32)
    assert predictions.pred_score.numel() == 2
    assert predictions.gt_label.tolist() == [False, True]


class Unread(Dataset):
    """Images that nobody may ask for."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> ImageBatch:
        raise AssertionError(index)


def test_wrong_weights_stop_the_run_before_an_image_is_read(tmp_path: Path) -> None:
    trainer = Trainer(default_root_dir=tmp_path, accelerator="cpu", logger=False, enable_checkpointing=False)
    unread = DataLoader(Unread(), batch_size=None)
    with pytest.raises(FileNotFoundError, match=r"'missing.pth' is neither a file nor an installed package"):
        trainer.fit(build(pre_trained="missing.pth"), unread, unread)


def test_defaults_for_anomalib() -> None:
    model = build()
    assert model.learning_type == LearningType.ONE_CLASS
    assert isinstance(model.evaluator, DistillationEvaluator)
    # anomalib lets these overrule the user's, so no limit may be among them.
    assert model.trainer_arguments == {"num_sanity_val_steps": 0}


@pytest.mark.parametrize("name", ["pre_processor", "post_processor", "evaluator"])
def test_components_can_be_left_out(name: str) -> None:
    assert getattr(build(**{name: False}), name) is None


def test_checkpoint_restores_the_model_without_its_weights_file(tmp_path: Path) -> None:
    trainer = Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = build()
    trainer.fit(model, loader(), loader())
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    restored = ReverseDistillation.load_from_checkpoint(
        tmp_path / "model.ckpt", pre_trained="deleted.pth", weights_only=False
    )
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = model.cpu().eval()(images)
        actual = restored.cpu().eval()(images)
    torch.testing.assert_close(actual.anomaly_map, expected.anomaly_map)
    torch.testing.assert_close(actual.pred_score, expected.pred_score)
