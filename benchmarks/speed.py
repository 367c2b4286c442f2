# SPDX-License-Identifier: Apache-2.0
"""Speed, memory and size against anomalib's own reverse distillation.

    python benchmarks/speed.py [--device cpu|cuda] [--quick] [--json FILE]

Same architecture, image size, batch and threads. anomalib builds the bottleneck of a wide ResNet half as wide inside
its blocks as the paper's authors do; rows that say "narrow embedding" compare with ours made so, the others with ours
as it is. Each side runs in a process of its own, set up as its package sets up a run (ours keeps freed memory, see
rd_plugin.callbacks.MemoryReuse), and the two take turns, so that a slow moment of the machine meets both. A figure is
the median of the turns; a ratio above 1 is in our favour.
"""

import argparse
import gc
import json
import logging
import multiprocessing
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from anomalib.deploy import CompressionType, ExportType
from anomalib.engine import Engine
from anomalib.models import ReverseDistillation as Theirs
from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerationMode
from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerator as TheirGenerator

from rd_plugin import ReverseDistillation as Ours
from rd_plugin.callbacks.memory_reuse import keep_freed_memory
from rd_plugin.components import AnomalyMapGenerator, build_bottleneck, cosine_deviation
from rd_plugin.models import ReverseDistillationModel
from rd_plugin.models.distillation.feature_cache import FeatureCache

SIDE = 256
Row = dict[str, Any]


def _narrow(model: ReverseDistillationModel) -> None:
    """Give ours the bottleneck that anomalib builds for a wide ResNet: half as wide inside its blocks."""
    pyramid = model.teacher.pyramid
    make = pyramid.embedding.residual
    narrow = replace(pyramid.embedding, residual=replace(make, width=(make.width or 0) // 2))
    bottleneck = build_bottleneck("mff_oce", replace(pyramid, embedding=narrow))
    model.bottleneck = bottleneck.to(memory_format=torch.channels_last)


def _model(side: str, backbone: str, narrow: bool = False) -> Ours | Theirs:
    """The Lightning module of one side, with random weights."""
    torch.manual_seed(0)
    logging.disable(logging.WARNING)
    kind = Ours if side == "ours" else Theirs
    module = kind(backbone=backbone, pre_trained=False, evaluator=False, visualizer=False)
    if narrow and side == "ours":
        _narrow(module.model)
    # As after a training: without a range and a threshold an export is not what a user deploys.
    for level in ("image", "pixel"):
        getattr(module.post_processor, f"{level}_min").fill_(0)
        getattr(module.post_processor, f"{level}_max").fill_(1)
        getattr(module.post_processor, f"_{level}_threshold").fill_(0.5)
    return module


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def training_step(
    side: str,
    device: str,
    backbone: str,
    batch: int,
    cache: bool,
    narrow: bool = False,
    mixed: bool = False,
    tf32: bool = True,
) -> Callable[[], None]:
    """A step of training: forward, backward, Adam.

    Args:
        side: Ours or theirs.
        device: Where it runs.
        backbone: The teacher.
        batch: Images in a step.
        cache: Whether ours has kept features, as after a first epoch.
        narrow: Whether ours has a bottleneck as narrow as theirs.
        mixed: Whether ours runs in mixed precision, with bfloat16.
        tf32: Whether a GPU's float32 convolutions may round their factors to TF32, as torch lets them.
    """
    torch.backends.cudnn.allow_tf32 = tf32
    if side == "ours" and device == "cpu":
        keep_freed_memory()
    module = _model(side, backbone, narrow).to(device).train()
    optimizer = module.configure_optimizers()
    images = torch.randn(batch, 3, SIDE, SIDE, device=device)

    forward = module.model
    if side == "ours" and cache:
        kept = FeatureCache(module.model.teacher, "memory", 2**31, batch)
        names = [str(index) for index in range(batch)]

        def forward(images: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
            return module.model.distill_features(kept(images, names))

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=side == "ours" and mixed):
            loss = module.loss(*forward(images))
        if side == "theirs":
            # Lightning's order; ours lets gradients go as soon as they have been used.
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if side == "ours":
            optimizer.zero_grad()
        _synchronize(device)

    return step


def inference(side: str, device: str, backbone: str, batch: int) -> Callable[[], None]:
    """Maps and scores of a batch of normalized images."""
    model = _model(side, backbone).to(device).eval().model
    images = torch.randn(batch, 3, SIDE, SIDE, device=device)

    def run() -> None:
        with torch.inference_mode():
            model(images)
        _synchronize(device)

    return run


def _features(batch: int, device: str) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(64, 64), (128, 32), (256, 16)]
    return [torch.randn(batch, channels, side, side, generator=generator).to(device) for channels, side in shapes]


def _map(side: str, batch: int, device: str) -> Callable[[], torch.Tensor]:
    """The anomaly map of given features of teacher and student."""
    teacher, student = _features(batch, device), [feature.roll(1, 0) for feature in _features(batch, device)]
    if side == "theirs":
        theirs = TheirGenerator((SIDE, SIDE), mode=AnomalyMapGenerationMode.ADD)
        return lambda: theirs(teacher, student)
    ours = AnomalyMapGenerator(border="reflect")
    return lambda: ours([cosine_deviation(t, s) for t, s in zip(teacher, student, strict=True)], (SIDE, SIDE))


def anomaly_map(side: str, device: str, batch: int) -> Callable[[], None]:
    """The anomaly map from features, on one thread."""
    torch.set_num_threads(1)
    make = _map(side, batch, device)

    def run() -> None:
        with torch.inference_mode():
            make()
        _synchronize(device)

    return run


def _worker(connection: Connection, make: Callable[[], Callable[[], None]], warm_up: int) -> None:
    """Run turns as they are asked for; the answer is seconds, and in the end the peak memory in MiB."""
    run = make()
    for _ in range(warm_up):
        run()
    connection.send(None)
    while repeats := connection.recv():
        gc.collect()
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        connection.send((time.perf_counter() - start) / repeats)
    on_device = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_initialized() else 0
    connection.send(on_device or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def compare(
    what: str, task: Callable[..., Callable[[], None]], turns: int, repeats: int, **arguments: Any
) -> list[Row]:
    """Let both sides take turns at a task; return a row for time and one for peak memory."""
    context = multiprocessing.get_context("spawn")
    sides: dict[str, tuple[Any, Connection]] = {}
    for side in ("ours", "theirs"):
        here, there = context.Pipe()
        process = context.Process(target=_worker, args=(there, partial(task, side, **arguments), 2))
        process.start()
        here.recv()
        sides[side] = (process, here)
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(turns):
        for side, (_, connection) in sides.items():
            connection.send(repeats)
            times[side].append(connection.recv())
    memory = {}
    for side, (process, connection) in sides.items():
        connection.send(0)
        memory[side] = connection.recv()
        process.join()
    medians = {side: 1000 * statistics.median(values) for side, values in times.items()}
    ratios = [theirs / ours for ours, theirs in zip(times["ours"], times["theirs"], strict=True)]
    return [
        {"what": what, "unit": "ms", **medians, "ratio": statistics.median(ratios)},
        {"what": f"{what}: peak memory", "unit": "MiB", **memory, "ratio": memory["theirs"] / memory["ours"]},
    ]


def sizes(backbone: str, name: str, narrow: bool) -> Iterator[Row]:
    """Size of the weights that a checkpoint holds, and of an OpenVINO export in float32, both files together."""
    weights, exported = {}, {}
    for side in ("ours", "theirs"):
        model = _model(side, backbone, narrow)
        weights[side] = sum(tensor.nbytes for tensor in model.state_dict().values()) / 2**20
        with tempfile.TemporaryDirectory() as folder:
            path = model.to_openvino(folder, input_size=(SIDE, SIDE), onnx_kwargs={"verbose": False})
            exported[side] = sum(path.with_suffix(suffix).stat().st_size for suffix in (".xml", ".bin")) / 2**10
    for what, unit, size in (("weights in a checkpoint", "MiB", weights), ("OpenVINO export", "KiB", exported)):
        yield {"what": f"{what}, {name}", "unit": unit, **size, "ratio": size["theirs"] / size["ours"]}


def exports(turns: int) -> list[Row]:
    """Latency of OpenVINO exports, one image, all in one process and in turn."""
    import openvino

    from rd_plugin import SolarCells

    data = SolarCells(num_workers=0)
    core = openvino.Core()
    cases = {
        "theirs": ("theirs", "resnet18", None),
        "float32, resnet18": ("ours", "resnet18", None),
        "INT8_PTQ, resnet18": ("ours", "resnet18", CompressionType.INT8_PTQ),
        "INT8_PTQ, tf_efficientnet_lite0": ("ours", "tf_efficientnet_lite0", CompressionType.INT8_PTQ),
    }
    models = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (side, backbone, compression) in cases.items():
            path = Engine().export(
                _model(side, backbone),
                ExportType.OPENVINO,
                export_root=Path(folder) / name,
                input_size=(SIDE, SIDE),
                compression_type=compression,
                datamodule=data,
            )
            settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
            models[name] = core.compile_model(path, "CPU", settings)
    image = torch.rand(1, 3, SIDE, SIDE).numpy()
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(20 * turns):
        for name, model in models.items():
            start = time.perf_counter()
            model(image)
            times[name].append(1000 * (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in times.items()}
    base = medians.pop("theirs")
    return [
        {
            "what": f"OpenVINO {name} (theirs: float32, resnet18)",
            "unit": "ms",
            "ours": value,
            "theirs": base,
            "ratio": base / value,
        }
        for name, value in medians.items()
    ]


def training_rows(device: str, quick: bool, turns: int) -> Iterator[Row]:
    """Time and peak memory of training steps, and size of the weights."""
    wide, batch = "wide_resnet50_2", 32 if device == "cuda" else 4
    cases = [(f"{wide}, narrow embedding", wide, batch, True), (wide, wide, batch, False)]
    if device == "cpu":
        cases = [("resnet18", "resnet18", 16, False), *([] if quick else cases)]
    mixed = ", kept features, ours in bfloat16"
    settings: dict[str, Row] = {
        "": {"cache": False},
        ", kept features": {"cache": True},
        mixed: {"cache": True, "mixed": True},
    }
    if device == "cuda":
        settings[f"{mixed}, theirs without TF32"] = {**settings[mixed], "tf32": False}
    for name, backbone, batch, narrow in cases:
        for setting, how in settings.items():
            what = f"training step, {name}, batch {batch}{setting}"
            how = {**how, "backbone": backbone, "batch": batch, "narrow": narrow}
            yield from compare(what, training_step, turns, 1, device=device, **how)
        yield from sizes(backbone, name, narrow)


def inference_rows(device: str, turns: int) -> Iterator[Row]:
    """Time of maps, of inference in PyTorch and, on a CPU, in OpenVINO."""
    yield compare("anomaly map, 1 thread, batch 8", anomaly_map, turns, 5, device=device, batch=8)[0]
    for batch in (1, 8):
        what = f"eager inference, resnet18, batch {batch}"
        yield compare(what, inference, turns, 5, device=device, backbone="resnet18", batch=batch)[0]
    if device == "cpu":
        yield from exports(turns)


def main() -> None:
    """Measure, print the table and write the records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--quick", action="store_true", help="fewer turns, and no wide network on a CPU")
    parser.add_argument("--json", type=Path, help="write the rows, and what they were measured on, to this file")
    arguments = parser.parse_args()
    device, turns = arguments.device, 3 if arguments.quick else 7

    rows = []
    print("| what | ours | theirs | unit | ratio |\n| --- | --- | --- | --- | --- |")
    for row in chain(training_rows(device, arguments.quick, turns), inference_rows(device, turns)):
        rows.append(row)
        print(
            f"| {row['what']} | {row['ours']:.1f} | {row['theirs']:.1f} | {row['unit']} | {row['ratio']:.2f} |",
            flush=True,
        )
    difference = (_map("ours", 8, "cpu")() - _map("theirs", 8, "cpu")()).abs().max().item()
    machine = (
        torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    print(f"\nMaps differ by {difference:.1e} at most. Measured on {machine}, torch {torch.__version__}.")
    if arguments.json:
        record = {"machine": machine, "torch": torch.__version__, "map_difference": difference, "rows": rows}
        arguments.json.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
