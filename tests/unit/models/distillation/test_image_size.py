# SPDX-License-Identifier: Apache-2.0
"""The size that images are resized to, as an argument."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from rd_plugin import ReverseDistillation
from rd_plugin.models import METHODS
from rd_plugin.models.distillation import Distillation


@pytest.mark.parametrize("method", METHODS)
def test_height_and_width(method: type[Distillation]) -> None:
    model = method("test_resnet", pre_trained=False, image_size=[32, 64])
    assert model.resized_to == [32, 64]
    assert model.hparams["image_size"] == (32, 64)
    assert model.eval()(torch.rand(1, 3, 50, 40)).anomaly_map.shape == (1, 1, 32, 64)
    assert method("test_resnet", pre_trained=False).resized_to == [256, 256]
    assert method("test_resnet", pre_trained=False, image_size=32).hparams["image_size"] == (32, 32)


def test_a_checkpoint_keeps_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(ReverseDistillation("test_resnet", pre_trained=False, image_size=(32, 64)))
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    assert ReverseDistillation.load_from_checkpoint(tmp_path / "model.ckpt").resized_to == [32, 64]
    assert "replaces" not in caplog.text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"image_size": (32,)}, r"image_size must be a height and a width in pixels, got \[32\]"),
        ({"image_size": 0}, r"image_size must be a height and a width in pixels, got \[0, 0\]"),
        ({"image_size": (0, 32)}, r"image_size must be a height and a width in pixels, got \[0, 32\]"),
        ({"image_size": (32, 32), "pre_processor": False}, "image_size is for the default pre-processor"),
    ],
)
def test_refused(arguments: dict, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        ReverseDistillation("test_resnet", pre_trained=False, **arguments)
