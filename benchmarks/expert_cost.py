# SPDX-License-Identifier: Apache-2.0
"""What RD with Expert and the Mahalanobis distance cost beside plain reverse distillation: step, latency and size.

    python benchmarks/expert_cost.py [--backbone NAME] [--batch 16] [--turns 5] [--training]

Random images and weights, 256 x 256. The variants take turns within one process; a figure is the median of the turns.
"""

import argparse
import logging
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import openvino
import torch
from anomalib.data import ImageBatch, ImageItem
from anomalib.deploy import CompressionType, ExportType
from anomalib.engine import Engine
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader

from rd_plugin import ExpertReverseDistillation, ReverseDistillation, SolarCells
from rd_plugin.models.distillation import Distillation
from rd_plugin.models.distillation.feature_cache import FeatureCacheType

SIDE = 256
VARIANTS: dict[str, tuple[type[Distillation], dict[str, Any]]] = {
    "ReverseDistillation": (ReverseDistillation, {}),
    "with deviation mahalanobis": (ReverseDistillation, {"deviation": "mahalanobis"}),
    "expert, guided": (ExpertReverseDistillation, {"injection": "guided"}),
    "expert, unguided": (ExpertReverseDistillation, {"injection": "unguided"}),
    "expert, none": (ExpertReverseDistillation, {"injection": "none"}),
    "guided, teacher frozen": (ExpertReverseDistillation, {"injection": "guided", "train_teacher": False}),
}
# What inference costs hangs on injection and deviation alone.
DEPLOYED = ("ReverseDistillation", "with deviation mahalanobis", "expert, guided", "expert, unguided")
STEPS = 3
Variant = tuple[str, FeatureCacheType]


def build(name: str, feature_cache: FeatureCacheType, backbone: str) -> Distillation:
    """Return a model with random weights, and a range and a threshold as after a training."""
    method, arguments = VARIANTS[name]
    model = method(
        backbone, pre_trained=False, evaluator=False, visualizer=False, feature_cache=feature_cache, **arguments
    )
    for level in ("image", "pixel"):
        getattr(model.post_processor, f"{level}_min").fill_(0)
        getattr(model.post_processor, f"{level}_max").fill_(1)
        getattr(model.post_processor, f"_{level}_threshold").fill_(0.5)
    return model


class StepTimes(Callback):
    """Seconds of each training step but a run's first, which has features to compute that are kept then."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_batch_start(self, *args: Any) -> None:
        """Start the clock."""
        del args
        self.start = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Stop the clock."""
        del args
        if trainer.current_epoch > 0:
            self.seconds.append(time.perf_counter() - self.start)


def training(models: dict[Variant, Distillation], batch: int, turns: int) -> dict[Variant, float]:
    """Return milliseconds of a training step, through Lightning."""
    items = [ImageItem(image=torch.randn(3, SIDE, SIDE), image_path=f"{index}.png") for index in range(batch)]
    loader = DataLoader(items, batch, collate_fn=ImageBatch.collate)
    times = {name: StepTimes() for name in models}
    for _ in range(turns):
        for name, model in models.items():
            trainer = Trainer(
                accelerator="cpu",
                max_epochs=1 + STEPS,
                callbacks=[times[name]],
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                limit_val_batches=0,
            )
            trainer.fit(model, loader, loader)
    return {name: 1000 * statistics.median(callback.seconds) for name, callback in times.items()}


def latency(models: dict[str, Distillation], compression: CompressionType | None, turns: int) -> dict[str, float]:
    """Return milliseconds an image of the OpenVINO exports."""
    core, data = openvino.Core(), SolarCells(num_workers=0)
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models.items():
            path = Engine(default_root_dir=folder).export(
                model,
                ExportType.OPENVINO,
                export_root=Path(folder) / name,
                input_size=(SIDE, SIDE),
                compression_type=compression,
                datamodule=data,
            )
            compiled[name] = core.compile_model(path, "CPU", settings)
    image = torch.rand(1, 3, SIDE, SIDE).numpy()
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(20 * turns):
        for name, model in compiled.items():
            start = time.perf_counter()
            model(image)
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--training", action="store_true", help="measure the training step only")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    caches: dict[FeatureCacheType, str] = {"off": "features computed", "memory": "features kept"}
    models: dict[Variant, Distillation] = {
        (name, cache): build(name, cache, options.backbone) for name in VARIANTS for cache in caches
    }
    deployed = {name: models[name, "memory"] for name in DEPLOYED}
    steps = training(models, options.batch, options.turns)
    columns = {
        f"training step of {options.batch}, ms, {how}": {name: steps[name, cache] for name in VARIANTS}
        for cache, how in caches.items()
    }
    if not options.training:
        columns["OpenVINO float32, ms"] = latency(deployed, None, options.turns)
        columns["OpenVINO INT8_PTQ, ms"] = latency(deployed, CompressionType.INT8_PTQ, options.turns)
        columns["weights in a checkpoint, MiB"] = {
            name: sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values()) / 2**20
            for name, model in deployed.items()
        }
    print(f"| {options.backbone} | {' | '.join(columns)} |\n{'| --- ' * (len(columns) + 1)}|")
    for name in VARIANTS:
        cells = [f"{values[name]:.1f}" if name in values else "" for values in columns.values()]
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\n{torch.get_num_threads()} threads, torch {torch.__version__}, OpenVINO {openvino.__version__}.")


if __name__ == "__main__":
    main()
