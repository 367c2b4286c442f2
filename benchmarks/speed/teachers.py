# SPDX-License-Identifier: Apache-2.0
"""What any model is told to do with a teacher of any kind: train a step, predict; and anomalib's Dinomaly likewise."""

from collections.abc import Callable
from typing import Any

import torch
from anomalib.models.components import AnomalibModule
from anomalib.models.image.dinomaly.components import StableAdamW
from anomalib.models.image.dinomaly.lightning_model import TRAINING_CONFIG
from torch import nn, optim

from rd_plugin.comparison import methods
from rd_plugin.models.distillation.feature_cache import FeatureCache

from .deployed import give_range

__all__ = ["SIDES", "build", "inference", "inference_of", "step_of", "training_step"]

SIDES = {"ours": "ReverseDistillation", "theirs": "anomalib.Dinomaly"}
# Where positions are held back fully, and the norm that gradients are clipped to: Dinomaly's.
_STEP, _CLIP = 1000, 0.1


def build(name: str, backbone: str, size: int) -> AnomalibModule:
    """Return a model by its name in the benchmarks of accuracy, with random weights, for images of a size."""
    torch.manual_seed(0)
    model = methods.build(name, {"evaluator": False}, backbone, "false", size)
    give_range(model)
    return model


def _optimizer(model: AnomalibModule) -> optim.Optimizer:
    if hasattr(model, "trainable_modules"):  # anomalib's Dinomaly, which asks for a trainer
        return StableAdamW(model.trainable_modules.parameters(), **TRAINING_CONFIG["optimizer"])
    configured: Any = model.configure_optimizers()
    return configured["optimizer"] if isinstance(configured, dict) else configured


def training_step(model: AnomalibModule, size: int, batch: int, kept: bool) -> Callable[[], None]:
    """A step of training: forward, backward, clipped gradient, optimizer; ours with features kept or computed."""
    model.train()
    optimizer = _optimizer(model)
    for group in optimizer.param_groups:
        # A schedule begins with 0.
        group["lr"] = group.get("initial_lr", group["lr"])
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    images = torch.randn(batch, 3, size, size)
    ours = hasattr(model, "frozen_network")
    names = [str(index) for index in range(batch)]
    teacher = FeatureCache(model.frozen_network, "memory", 2**31, batch if kept else 0) if ours else None

    def step() -> None:
        if teacher is None:
            loss = model.model(images, global_step=_STEP)
            # Lightning's order; ours lets gradients go as soon as they have been used.
            optimizer.zero_grad()
        else:
            features, student = model.model.distill_features(teacher(images, names))
            loss = model.loss(features, student, _STEP, model.steps)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, _CLIP)
        optimizer.step()
        if teacher is not None:
            optimizer.zero_grad()

    return step


def inference(model: AnomalibModule, size: int, batch: int) -> Callable[[], None]:
    """Maps and scores of normalized images."""
    model.eval()
    images = torch.randn(batch, 3, size, size)

    def run() -> None:
        with torch.inference_mode():
            model.model(images)

    return run


def step_of(side: str, device: str, backbone: str, size: int, batch: int, kept: bool) -> Callable[[], None]:
    """Return a side's training step; ``device`` is the CPU."""
    del device
    return training_step(build(SIDES[side], backbone, size), size, batch, kept)


def inference_of(side: str, device: str, backbone: str, size: int, batch: int) -> Callable[[], None]:
    """Return a side's inference; ``device`` is the CPU."""
    del device
    return inference(build(SIDES[side], backbone, size), size, batch)
