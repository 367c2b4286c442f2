# SPDX-License-Identifier: Apache-2.0
"""One-class novelty detection at 32 x 32 pixels in anomalib's engine."""

from pathlib import Path

import numpy as np
import pytest
from anomalib.cli import AnomalibCLI
from PIL import Image

from rd_plugin import ExpertReverseDistillation, OneClass

from .conftest import cpu_engine

CONFIG = Path(__file__).parents[2] / "configs" / "one_class_mnist.yaml"
NORMAL, TEST = 9, 4


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey images of 28 x 28 pixels: stripes across, or down."""
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("stripes")
    wave = 128 + 100 * np.sin(np.arange(28))
    for split, count in (("train", NORMAL), ("test", TEST)):
        for name, pattern in (("across", wave[:, None]), ("down", wave[None])):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = np.clip(pattern + rng.normal(0, 9, size=(28, 28)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{index}.png")
    return root


def test_configuration_runs(stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper's three ResNet-18 stages train at 32 x 32 pixels."""
    monkeypatch.chdir(tmp_path)
    data = ("--data.source", str(stripes), "--data.normal_class", "down", "--data.val_split_ratio", "0.3")
    small = ("--model.pre_trained", "false", "--data.num_workers", "0", "--trainer.max_steps", "1")
    quiet = ("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false")
    cli = AnomalibCLI(["train", "--config", str(CONFIG), *data, *small, *quiet], run=False)
    (metrics,) = cli.engine.train(model=cli.model, datamodule=cli.datamodule)
    assert set(metrics) == {"image_AUROC", "image_F1Score"}
    assert cli.model.input_size == (32, 32)
    assert not list(tmp_path.rglob("*.png"))


def test_expert_trains_at_32_pixels_and_draws_every_test_image(stripes: Path, tmp_path: Path) -> None:
    pre_processor = ExpertReverseDistillation.configure_pre_processor((32, 32))
    model = ExpertReverseDistillation("test_resnet", pre_trained=False, score="mean", pre_processor=pre_processor)
    # Batches of 4 leave one of the 9 images over, which these models could not train on alone.
    data = OneClass(stripes, "across", train_batch_size=4, num_workers=0, val_split_mode="none")
    (metrics,) = cpu_engine(tmp_path, max_epochs=1).train(model=model, datamodule=data)
    assert 0 <= metrics["image_AUROC"] <= 1
    assert "pixel_AUROC" not in metrics
    pictures = tmp_path / "ExpertReverseDistillation" / "OneClass" / f"{stripes.name}_across" / "v0" / "images"
    found = {str(path.relative_to(pictures)) for path in pictures.rglob("*.png")}
    assert found == {f"{name}/{index}.png" for name in ("across", "down") for index in range(TEST)}
