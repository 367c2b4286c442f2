# SPDX-License-Identifier: Apache-2.0
"""The models in anomalib's engine, from Python."""

from pathlib import Path

import pytest
import torch
from anomalib.callbacks import TilerConfigurationCallback
from anomalib.data import ImageBatch
from anomalib.engine import Engine
from anomalib.models.components import AnomalibModule
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader

from rd_plugin import FusedReverseDistillation, MVTec
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


def test_checkpoint_restores_the_model(trained: Trained) -> None:
    model = trained.method.load_from_checkpoint(trained.checkpoint)
    assert model.input_size == (SIZE, SIZE)
    images = torch.rand(2, 3, 96, 96)
    again = trained.method.load_from_checkpoint(trained.checkpoint).eval()
    assert torch.equal(model.eval()(images).anomaly_map, again(images).anomaly_map)
    state = torch.load(trained.checkpoint, weights_only=False)["state_dict"]
    assert state.keys() == model.state_dict().keys()


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


def test_tiles(method: Method, tmp_path: Path, mvtec_root: Path) -> None:
    """anomalib's tiler cuts images of 64 pixels into tiles of 32; maps come back whole."""
    tiler = TilerConfigurationCallback(enable=True, tile_size=32, stride=32)
    # Light is evened over an image, before it is cut.
    model = _model(method, **({"light": 0.0} if method is FusedReverseDistillation else {}))
    engine = _engine(tmp_path, max_epochs=1, callbacks=[tiler])
    engine.fit(model, datamodule=_data(mvtec_root))
    images = torch.rand(2, 3, SIZE, SIZE)
    model.eval()
    tiled = model.model(images).anomaly_map
    assert tiled.shape == (2, 1, SIZE, SIZE)
    model.model.tiler = None
    corner = model.model(images[..., :32, :32]).anomaly_map
    torch.testing.assert_close(tiled[..., :32, :32], corner, rtol=0, atol=1e-5)


def test_no_limit_means_the_papers_length(method: Method, tmp_path: Path, mvtec_root: Path) -> None:
    model = _model(method)
    engine = _engine(tmp_path, limit_train_batches=0)
    engine.fit(model, datamodule=_data(mvtec_root))
    assert (engine.trainer.max_epochs, engine.trainer.max_steps) == (
        method.default_max_epochs,
        method.default_max_steps,
    )


def test_is_an_anomalib_model(method: Method) -> None:
    assert issubclass(method, AnomalibModule)
    assert method not in AnomalibModule.__subclasses__()


@pytest.mark.parametrize("precision", ["bf16-mixed"])
def test_mixed_precision(method: Method, tmp_path: Path, mvtec_root: Path, precision: str) -> None:
    engine = _engine(tmp_path, max_epochs=1, precision=precision)
    (metrics,) = engine.train(model=_model(method, visualizer=False), datamodule=_data(mvtec_root))
    assert set(metrics) >= {"image_AUROC", "pixel_AUPRO"}
