# SPDX-License-Identifier: Apache-2.0
"""One cell of a grid: a model with its arguments, trained and evaluated on one category with one seed."""

from collections.abc import Iterator
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import torch
from anomalib.data import AnomalibDataModule
from anomalib.models.components import AnomalibModule
from lightning import seed_everything
from torch import Tensor
from torchvision.tv_tensors import Mask

from benchmarks.common.grid import Cell, Machine
from benchmarks.common.training import fit
from rd_plugin.models.distillation import Distillation

from . import methods
from .measures import PixelMetrics, measure
from .suites import BuildData

__all__ = ["build_cell", "evaluate", "model_name"]

_EVAL_BATCH = 16


def model_name(settings: dict[str, Any]) -> str:
    """Return the model of a cell's settings with its arguments, as tables name it."""
    arguments = ", ".join(f"{key}={value}" for key, value in settings["arguments"].items())
    return f"{settings['model']}({arguments})" if arguments else settings["model"]


def build_cell(settings: dict[str, Any], build_data: BuildData, machine: Machine) -> Cell:
    """Return a cell.

    Args:
        settings: All that its figures hang on, as JSON knows it.
        build_data: What builds the data module.
        machine: What it runs on.
    """
    parts = (settings["data"], settings["category"], model_name(settings), settings["backbone"], settings["seed"])
    work = partial(_compute, settings, build_data, machine)
    return Cell(settings, "/".join(map(str, parts)), work, "{data}/{category}/{model}_{seed}".format(**settings))


def _predictions(model: AnomalibModule, images: Tensor, scales: str) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, scores and maps of a batch: the model's own, or those of every subset of its scales."""
    if scales == "all":
        found = model.model(images)
        yield "", found.pred_score, found.anomaly_map
        return
    if not isinstance(model, Distillation):
        msg = "Subsets of scales exist for our models only."
        raise TypeError(msg)
    deviations = model.model.deviations(images)
    for count in range(1, len(deviations) + 1):
        for subset in combinations(range(len(deviations)), count):
            maps = model.model.anomaly_map_generator([deviations[index] for index in subset], images.shape[-2:])
            yield "+".join(f"M{index + 1}" for index in subset), model.model.image_score(maps), maps


@torch.inference_mode()
def evaluate(
    model: AnomalibModule, datamodule: AnomalibDataModule, device: str, scales: str
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """Return the figures on all test images for each map of a model; and the labels and each map's image scores."""
    model.eval().to(device)
    transform = model.pre_processor.transform
    scores: dict[str, list[Tensor]] = {}
    maps: dict[str, list[Tensor]] = {}
    labels, masks = [], []
    for batch in datamodule.test_dataloader():
        images = transform(batch.image.to(device))
        for name, score, anomaly_map in _predictions(model, images, scales):
            scores.setdefault(name, []).append(score.float().flatten().cpu())
            maps.setdefault(name, []).append(anomaly_map.float().reshape(-1, *images.shape[-2:]).cpu())
        labels.append(batch.gt_label.bool())
        if batch.gt_mask is not None:
            mask = transform(Mask(batch.gt_mask)).as_subclass(Tensor)
            masks.append(mask.reshape(-1, *images.shape[-2:]) > 0)
    truth = torch.cat(labels)
    pixels = PixelMetrics(torch.cat(masks)) if masks else None
    joined = {name: torch.cat(parts) for name, parts in scores.items()}
    figures = {name: measure(joined[name], torch.cat(parts), truth, pixels) for name, parts in maps.items()}
    arrays = {f"scores {name}".strip(): score.numpy() for name, score in joined.items()}
    return figures, {"labels": truth.numpy(), **arrays}


def _compute(settings: dict[str, Any], build_data: BuildData, machine: Machine) -> dict[str, Any]:
    """Train and evaluate; what a record says of it, and the scores."""
    seed_everything(settings["seed"], verbose=False)
    model = methods.build(
        settings["model"],
        settings["arguments"],
        settings["backbone"],
        settings["pre_trained"],
        settings["image_size"],
    )
    datamodule = build_data(
        train_batch_size=settings["batch"],
        eval_batch_size=_EVAL_BATCH,
        num_workers=machine.workers,
    )
    several = {"strategy": "ddp_spawn_find_unused_parameters_true"} if settings["devices"] > 1 else {}
    seconds = fit(
        model,
        datamodule,
        accelerator=machine.accelerator,
        devices=settings["devices"],
        **{f"max_{unit}": count for unit, count in settings["length"].items()},
        **several,
    )
    datamodule.setup()
    figures, scores = evaluate(model, datamodule, machine.device, settings["scales"])
    defects = int(scores["labels"].sum())
    counts = {"train": len(datamodule.train_data), "normal": len(scores["labels"]) - defects, "anomalous": defects}
    return {"figures": figures, "images": counts, "train_seconds": round(seconds, 1), **scores}
