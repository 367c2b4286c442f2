# SPDX-License-Identifier: Apache-2.0
"""What our reverse distillation and anomalib's are both told to do: train a step, predict, make a map of features."""

import logging
from collections.abc import Callable
from dataclasses import replace

import torch
from anomalib.models import ReverseDistillation as Theirs
from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerationMode
from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerator as TheirGenerator

from rd_plugin import ReverseDistillation as Ours
from rd_plugin.components import AnomalyMapGenerator, build_bottleneck, cosine_deviation
from rd_plugin.models import ReverseDistillationModel
from rd_plugin.models.distillation.feature_cache import FeatureCache

from .deployed import give_range

__all__ = ["SIDE", "anomaly_map", "build_model", "inference", "map_difference", "training_step"]

SIDE = 256


def _narrow(model: ReverseDistillationModel) -> None:
    """Give ours the bottleneck that anomalib builds for a wide ResNet: half as wide inside its blocks."""
    pyramid = model.teacher.pyramid
    make = pyramid.embedding.residual
    narrow = replace(pyramid.embedding, residual=replace(make, width=(make.width or 0) // 2))
    bottleneck = build_bottleneck("mff_oce", replace(pyramid, embedding=narrow))
    model.bottleneck = bottleneck.to(memory_format=torch.channels_last)


def build_model(side: str, backbone: str, narrow: bool = False) -> Ours | Theirs:
    """Return the Lightning module of one side, with random weights."""
    torch.manual_seed(0)
    logging.disable(logging.WARNING)
    kind = Ours if side == "ours" else Theirs
    module = kind(backbone=backbone, pre_trained=False, evaluator=False, visualizer=False)
    if narrow and side == "ours":
        _narrow(module.model)
    give_range(module)
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
    module = build_model(side, backbone, narrow).to(device).train()
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
    model = build_model(side, backbone).to(device).eval().model
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


def map_difference() -> float:
    """Return the largest difference of the two sides' maps of the same features."""
    return (_map("ours", 8, "cpu")() - _map("theirs", 8, "cpu")()).abs().max().item()
