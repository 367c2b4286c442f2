# SPDX-License-Identifier: Apache-2.0
"""The models in anomalib's engine, from Python."""

from pathlib import Path

import pytest
import torch
from anomalib.data import ImageBatch
from anomalib.engine import Engine
from anomalib.models.components import AnomalibModule
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader

from rd_plugin import MVTec
from rd_plugin.models.distillation import Distillation

from .conftest import BACKBONE, SIZE, WEIGHTS, Method, Trained


def _model(method: Method, **arguments: object) -> Distillation:
    torch.manual_seed(0)
    pre_processor = method.configure_pre_processor((SIZE, SIZE))
    return method(**{"backbone": BACKBONE, "pre_trained": False, "pre_processor": pre_processor, **arguments})


def _data(root: Path, **arguments: object) -> MVTec:
    return MVTec(root, "tile", train_batch_size=4, num_workers=0, **arguments)


def _engine(folder: Path, **arguments: object) -> Engine:
    return Engine(default_root_dir=folder, accelerator="cpu", enable_progress_bar=False, **arguments)


class _Seeded(Callback):
    """Give each step random numbers that do not hang on the steps before it."""

    def on_train_batch_start(self, trainer: Trainer, *args: object) -> None:
        del args
        torch.manual_seed(trainer.global_step)


def test_train_returns_metrics(method: Method, tmp_path: Path, mvtec_root: Path) -> None:
    engine = _engine(tmp_path, max_epochs=1)
    (metrics,) = engine.train(model=_model(method), datamodule=_data(mvtec_root))
    assert all(0 <= value <= 1 for value in metrics.values())
    assert len(metrics) == 5


def test_training_learns_to_find_defects(trained: Trained, tmp_path: Path, mvtec_root: Path) -> None:
    model = trained.method.load_from_checkpoint(trained.checkpoint, visualizer=False)
    (metrics,) = _engine(tmp_path).test(model=model, datamodule=_data(mvtec_root))
    assert metrics["image_AUROC"] >= 0.9
    assert metrics["pixel_AUROC"] >= 0.9


def test_resumed_run_equals_uninterrupted_run(method: Method, tmp_path: Path, mvtec_root: Path) -> None:
    data = _data(mvtec_root)
    data.setup()

    def fit(folder: str, epochs: int, checkpoint: Path | None = None) -> tuple[Distillation, Path]:
        model = _model(method, pre_trained=WEIGHTS)
        fixed = DataLoader(data.train_data, batch_size=4, collate_fn=ImageBatch.collate)
        engine = _engine(tmp_path / folder, max_epochs=epochs, callbacks=[_Seeded()])
        engine.fit(model, fixed, data.val_dataloader(), ckpt_path=checkpoint)
        return model, Path(engine.trainer.checkpoint_callback.best_model_path)

    whole, _ = fit("whole", 4)
    _, half = fit("half", 2)
    resumed, _ = fit("resumed", 4, half)
    for (name, expected), actual in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(expected, actual), name


def test_is_an_anomalib_model(method: Method) -> None:
    assert issubclass(method, AnomalibModule)
    assert method not in AnomalibModule.__subclasses__()


@pytest.mark.parametrize("precision", ["bf16-mixed"])
def test_mixed_precision(method: Method, tmp_path: Path, mvtec_root: Path, precision: str) -> None:
    engine = _engine(tmp_path, max_epochs=1, precision=precision)
    (metrics,) = engine.train(model=_model(method, visualizer=False), datamodule=_data(mvtec_root))
    assert set(metrics) >= {"image_AUROC", "pixel_AUPRO"}
