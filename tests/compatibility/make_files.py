# SPDX-License-Identifier: Apache-2.0
"""Write the files of a release: run ``python tests/compatibility/make_files.py`` when its version is tagged.

Each method learns from a few images for two steps, with a teacher of random weights. It is saved as a checkpoint and
as a torch export, with what it predicts.
"""

import logging
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from anomalib.engine import Engine
from lightning import seed_everything
from PIL import Image

from rd_plugin import FusedReverseDistillation, PartsFolder, ReverseDistillation
from rd_plugin.models.distillation import Distillation

FILES = Path(__file__).parent / "files"
SIDE = 16
# The narrowest of timm's networks, and of it no more than two scales: the files are kept in the repository.
SMALL: dict[str, Any] = {
    "backbone": "test_efficientnet",
    "pre_trained": False,
    "image_size": (SIDE, SIDE),
    "report": False,
    "visualizer": False,
}
MODELS: dict[str, tuple[type[Distillation], dict[str, Any]]] = {
    "fused_reverse_distillation": (
        FusedReverseDistillation,
        {"layers": ["blocks.0", "blocks.1"], "bottleneck": "none"},
    ),
    "reverse_distillation": (ReverseDistillation, {"layers": ["blocks.0"], "deviation": "mahalanobis"}),
}


def draw(count: int, seed: int) -> np.ndarray:
    """Draw wavy textures of shape ``(count, SIDE, SIDE, 3)``, of various brightness."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    phase, light = rng.uniform(0, 2 * np.pi, (2, count, 1, 1, 3)), rng.uniform(0.6, 1.1, (count, 1, 1, 1))
    waves = np.sin(2 * np.pi * 3 * rows[..., None] + phase[0]) + np.sin(2 * np.pi * 2 * columns[..., None] + phase[1])
    return np.round(255 * light * (0.5 + 0.12 * waves)).clip(0, 255).astype(np.uint8)


def make(folder: Path, method: type[Distillation], arguments: dict[str, Any]) -> None:
    """Train, save and export a model, and write down what it predicts for images with a defect and without."""
    seed_everything(0)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch:
        good = Path(scratch, "good")
        good.mkdir()
        for index, image in enumerate(draw(24, seed=0)):
            Image.fromarray(image).save(good / f"{index:02}.png")
        data = PartsFolder(scratch, name="waves", train_batch_size=4, num_workers=0)
        engine = Engine(
            max_steps=2, accelerator="cpu", logger=False, default_root_dir=scratch, enable_progress_bar=False
        )
        model = method(**SMALL, **arguments)
        engine.fit(model, datamodule=data)
        # Without the state of the optimizer, which would be most of the file.
        engine.trainer.save_checkpoint(folder / "model.ckpt", weights_only=True)
        exported = engine.export(model, "torch", export_root=scratch)
        (folder / "model.pt").write_bytes(Path(exported).read_bytes())
    images = draw(4, seed=1)
    images[2:, 6:10, 6:10] -= 12
    with torch.no_grad():
        predictions = model.cpu().eval()(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    outputs = {name: value.numpy() for name, value in predictions._asdict().items()}
    np.savez_compressed(folder / "expected.npz", images=images, **outputs)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    for name, (method, arguments) in MODELS.items():
        make(FILES / version("rd-plugin") / name, method, arguments)
