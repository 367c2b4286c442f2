# SPDX-License-Identifier: Apache-2.0
"""Lightning's options that shorten or log a run, and what a prediction can be asked of."""

from collections.abc import Callable
from pathlib import Path

import pytest
from anomalib.data import PredictDataset
from anomalib.engine import Engine
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from rd_plugin import PartsFolder, ReverseDistillation

from ..pictures import draw_noise


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten good images and three defects; runs are in their folder."""
    monkeypatch.chdir(tmp_path)
    return draw_noise(tmp_path / "parts", {"good": 10, "defect": 3})


def _model() -> ReverseDistillation:
    return ReverseDistillation("test_resnet", pre_trained=False, image_size=32, report=False, visualizer=False)


def _engine(**arguments: object) -> Engine:
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Engine(**{"max_steps": 2, **quiet, **arguments})


@pytest.mark.parametrize(
    ("arguments", "measured"),
    [
        ({"fast_dev_run": True}, ["image_AUROC", "image_F1Score"]),
        pytest.param({"overfit_batches": 1}, ["image_AUROC", "image_F1Score"], marks=pytest.mark.slow),
        ({"limit_train_batches": 1, "limit_test_batches": 0}, []),
        pytest.param({"limit_val_batches": 0}, ["image_AUROC"], marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_short_runs(root: Path, arguments: dict, measured: list[str]) -> None:
    data = PartsFolder(root, num_workers=0, train_batch_size=3)
    results = _engine(**arguments).train(_model(), datamodule=data)
    assert sorted({name for result in results for name in result if "loss" not in name}) == measured


def test_metrics_in_a_csv_log(root: Path) -> None:
    data = PartsFolder(root, num_workers=0, train_batch_size=3)
    _engine(logger=CSVLogger("logs")).train(_model(), datamodule=data)
    (log,) = Path("logs").rglob("metrics.csv")
    assert {"train_loss_epoch", "image_AUROC"} <= set(log.read_text().splitlines()[0].split(","))


def _loader(folder: str) -> DataLoader:
    dataset = PredictDataset(folder)
    return DataLoader(dataset, collate_fn=dataset.collate_fn)


def test_predictions_of_paths_datasets_and_loaders(root: Path) -> None:
    del root
    model, engine = _model(), _engine()
    engine.fit(model, datamodule=PartsFolder("parts", num_workers=0, train_batch_size=3))
    asked: dict[str, Callable[[], dict]] = {
        "folder": lambda: {"data_path": "parts/defect"},
        "dataset": lambda: {"dataset": PredictDataset("parts/defect")},
        "loader": lambda: {"dataloaders": _loader("parts/defect")},
    }
    scores = {}
    for name, arguments in asked.items():
        batches = engine.predict(model, **arguments())
        scores[name] = {
            path: float(score)
            for batch in batches
            for path, score in zip(batch.image_path, batch.pred_score, strict=True)
        }
    assert len(scores["folder"]) == 3
    assert scores["dataset"] == scores["loader"] == scores["folder"]
    (one,) = engine.predict(model, data_path="parts/defect/0.png", ckpt_path=engine.best_model_path)
    assert float(one.pred_score) == pytest.approx(next(iter(scores["folder"].values())), abs=1e-6)
