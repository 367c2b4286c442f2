# SPDX-License-Identifier: Apache-2.0
"""Models as they are deployed: with a range and a threshold, exported to OpenVINO, compiled for latency."""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import openvino
import torch
from anomalib.data import AnomalibDataModule
from anomalib.deploy import CompressionType, ExportType
from anomalib.engine import Engine
from anomalib.models.components import AnomalibModule

from rd_plugin import SolarCells

from .timing import take_turns

__all__ = ["compile_for_latency", "export", "give_range", "latency", "weight_size"]


def give_range(model: AnomalibModule) -> None:
    """Set range and threshold as after a training: without them an export is not what a user deploys."""
    for level in ("image", "pixel"):
        getattr(model.post_processor, f"{level}_min").fill_(0)
        getattr(model.post_processor, f"{level}_max").fill_(1)
        getattr(model.post_processor, f"_{level}_threshold").fill_(0.5)


def weight_size(model: AnomalibModule) -> float:
    """Return MiB of the tensors that a checkpoint holds."""
    return sum(tensor.nbytes for tensor in model.state_dict().values()) / 2**20


def export(
    model: AnomalibModule,
    folder: Path,
    compression: CompressionType | None,
    datamodule: AnomalibDataModule,
    **more: Any,
) -> Path:
    """Export a model to OpenVINO.

    Args:
        model: The model.
        folder: Takes the files.
        compression: How weights are kept, and what is computed in.
        datamodule: Images to calibrate with.
        **more: Arguments of anomalib's export: size of the images, checkpoint.

    Returns:
        The ``.xml`` file.
    """
    return Engine(default_root_dir=folder).export(
        model,
        ExportType.OPENVINO,
        export_root=folder,
        compression_type=compression,
        datamodule=datamodule,
        **more,
    )


def compile_for_latency(path: Path, **settings: Any) -> openvino.CompiledModel:
    """Return an export, ready to run on the CPU in float32 or what it was quantized to; with more of its settings."""
    # float32 is meant as such: by default OpenVINO computes in bfloat16 where the processor can.
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", **settings}
    return openvino.Core().compile_model(path, "CPU", settings)


def latency(
    models: Mapping[str, tuple[AnomalibModule, CompressionType | None]],
    side: int | Mapping[str, int],
    turns: int,
    data: AnomalibDataModule | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Return milliseconds an image of the OpenVINO exports of models.

    Args:
        models: Models and how they are compressed.
        side: Of the image, in pixels; or of each model's.
        turns: A figure is the median of so many.
        data: Images to calibrate with; solar cells by default.
        clock: What time is taken by; if it is the processor's, on one core, where none waits for another.
    """
    data = data or SolarCells(num_workers=0)
    settings = {"INFERENCE_NUM_THREADS": 1} if clock is time.process_time else {}
    sides = {name: side if isinstance(side, int) else side[name] for name in models}
    with tempfile.TemporaryDirectory() as folder:
        tasks = {
            name: partial(
                compile_for_latency(
                    export(model, Path(folder) / name, compression, data, input_size=(sides[name], sides[name])),
                    **settings,
                ),
                torch.rand(1, 3, sides[name], sides[name]).numpy(),
            )
            for name, (model, compression) in models.items()
        }
    return {name: statistics.median(times) for name, times in take_turns(tasks, turns, 1, clock).items()}
