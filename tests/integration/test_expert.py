# SPDX-License-Identifier: Apache-2.0
"""What only RD with Expert has: an expert that comes and goes, two optimizers, twins of its images."""

import gc
import shutil
import weakref
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.cli import AnomalibCLI
from anomalib.deploy import ExportType
from anomalib.engine import Engine
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from PIL import Image

from rd_plugin import ExpertReverseDistillation
from rd_plugin.components import Teacher

from ..pictures import draw
from .conftest import BACKBONE, SIZE, WEIGHTS, cpu_engine, data_config, small_model, tile_data, write_config

STEPS = 4  # one more than an epoch has


def _model(**arguments: object) -> ExpertReverseDistillation:
    torch.manual_seed(0)
    small = {
        "backbone": "test_resnet",
        "layers": ["layer2", "layer3"],
        "pre_trained": False,
        "pre_processor": ExpertReverseDistillation.configure_pre_processor((SIZE, SIZE)),
        "visualizer": False,
    }
    return ExpertReverseDistillation(**{**small, **arguments})


def _state(teacher: Teacher) -> dict[str, torch.Tensor]:
    """A teacher's weights and statistics, without the counters of batches."""
    state = teacher.state_dict().items()
    return {name: tensor.clone() for name, tensor in state if tensor.is_floating_point()}


def _equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> dict[str, bool]:
    assert one.keys() == other.keys()
    return {name: torch.equal(tensor, other[name]) for name, tensor in one.items()}


@dataclass
class _Recorder(Callback):
    """Remember what the expert and the teacher were at the start, and what happened."""

    batches: int = 0
    shown: set[str] = field(default_factory=set)

    def on_train_start(self, trainer: Trainer, pl_module: ExpertReverseDistillation) -> None:
        del trainer
        self.teacher = _state(pl_module.model.teacher)
        self.expert_at_start = pl_module._expert is not None
        if self.expert_at_start:
            (expert,) = pl_module._expert
            self.frozen = not any(parameter.requires_grad for parameter in expert.parameters())
            self.expert, self.expert_state = weakref.ref(expert), _state(expert)

    def on_train_batch_end(self, trainer: Trainer, *args: object) -> None:
        del args
        self.batches += 1
        self.shown |= trainer.progress_bar_metrics.keys()


@dataclass
class Fitted:
    model: ExpertReverseDistillation
    engine: Engine
    record: _Recorder

    @property
    def checkpoint(self) -> Path:
        return Path(self.engine.trainer.checkpoint_callback.best_model_path)


def _fit(
    folder: Path, root: Path, checkpoint: Path | None = None, max_steps: int = STEPS, **arguments: object
) -> Fitted:
    record = _Recorder()
    engine = cpu_engine(folder, max_steps=max_steps, callbacks=[record])
    model = _model(**arguments)
    engine.fit(model=model, datamodule=tile_data(root), ckpt_path=checkpoint)
    return Fitted(model, engine, record)


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory, mvtec_root: Path) -> Fitted:
    return _fit(tmp_path_factory.mktemp("fitted"), mvtec_root)


def test_expert_is_frozen_and_gone_after_training(fitted: Fitted) -> None:
    gc.collect()
    assert fitted.record.expert_at_start
    assert fitted.record.frozen
    assert fitted.model._expert is None
    assert fitted.record.expert() is None


@pytest.mark.slow
def test_export_holds_no_expert(fitted: Fitted, tmp_path: Path) -> None:
    path = fitted.engine.export(fitted.model, ExportType.OPENVINO, export_root=tmp_path)
    network = fitted.model.model
    own, teacher = (4 * sum(p.numel() for p in module.parameters()) for module in (network, network.teacher))
    assert path.with_suffix(".bin").stat().st_size < own + teacher / 2


def test_both_losses_are_in_the_progress_bar(fitted: Fitted) -> None:
    assert {"teacher_loss_step", "student_loss_step"} <= fitted.record.shown


def test_resumed_training_has_the_pre_trained_expert(tmp_path: Path, mvtec_root: Path) -> None:
    weights = {"backbone": BACKBONE, "layers": None, "pre_trained": WEIGHTS}
    first = _fit(tmp_path / "first", mvtec_root, max_steps=2, **weights)
    resumed = _fit(tmp_path / "resumed", mvtec_root, first.checkpoint, max_steps=3, **weights)
    fresh = Teacher(BACKBONE, pre_trained=WEIGHTS)
    fresh.load_pretrained()
    assert resumed.engine.trainer.global_step == 3
    assert resumed.record.batches == 1
    assert all(_equal(resumed.record.expert_state, _state(fresh)).values())
    assert not all(_equal(resumed.record.teacher, _state(fresh)).values())
    assert all(_equal(resumed.record.teacher, _state(first.model.model.teacher)).values())


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"accumulate_grad_batches": 2}, "Automatic gradient accumulation is not supported for manual optimization"),
        ({"gradient_clip_val": 1.0}, "Automatic gradient clipping is not supported for manual optimization"),
    ],
    ids=["accumulate_grad_batches", "gradient_clip_val"],
)
def test_arguments_that_need_one_optimizer(tmp_path: Path, mvtec_root: Path, argument: dict, message: str) -> None:
    with pytest.raises(MisconfigurationException, match=message):
        cpu_engine(tmp_path, max_steps=1, **argument).fit(model=_model(), datamodule=tile_data(mvtec_root))
    engine = cpu_engine(tmp_path, max_steps=1, **argument)
    engine.fit(model=_model(train_teacher=False), datamodule=tile_data(mvtec_root))
    assert engine.trainer.global_step == 1


def test_textures_from_a_folder_that_is_gone_later(tmp_path: Path, mvtec_root: Path) -> None:
    textures = tmp_path / "textures"
    for name, colour in (("red/a.png", (255, 0, 0)), ("green/deep/b.jpg", (0, 255, 0))):
        draw(textures / name, colour, (40, 50))
    fitted = _fit(tmp_path / "run", mvtec_root, max_steps=1, anomaly_source=textures)
    assert len(fitted.model._textures.files) == 2
    shutil.rmtree(textures)
    again = ExpertReverseDistillation.load_from_checkpoint(fitted.checkpoint).eval()
    assert Path(again.anomaly_source) == textures
    assert again(torch.rand(1, 3, SIZE, SIZE)).anomaly_map.shape == (1, 1, SIZE, SIZE)


def test_twin_picture_on_the_command_line(
    tmp_path: Path,
    mvtec_root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    model = small_model(ExpertReverseDistillation, backbone="test_resnet", layers=None, pre_trained=False)
    config = write_config(tmp_path / "config.yaml", model=model, data=data_config(mvtec_root))
    limit = ["--trainer.max_steps", "1", "--trainer.limit_val_batches", "0"]
    AnomalibCLI(["fit", "--config", str(config), *limit, "--trainer.callbacks+=rd_plugin.callbacks.TwinPicture"])
    (picture,) = tmp_path.glob("**/twins.png")
    pixels = np.asarray(Image.open(picture))
    assert pixels.shape[0] > 3 * SIZE
    assert pixels.std() > 0
