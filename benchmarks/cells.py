# SPDX-License-Identifier: Apache-2.0
"""One cell of a grid: a model with its arguments, trained and evaluated on one category with one seed."""

import gc
import hashlib
import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import methods
import numpy as np
import torch
from anomalib.data import AnomalibDataModule
from anomalib.models.components import AnomalibModule
from lightning import seed_everything
from measures import PixelMetrics, measure
from runs import fit, replace
from suites import BuildData
from torch import Tensor
from torchvision.tv_tensors import Mask

from rd_plugin.models.distillation import Distillation
from rd_plugin.provenance import installed_versions, now

__all__ = ["Cell", "Machine", "model_name", "run"]

_EVAL_BATCH = 16


@dataclass(frozen=True)
class Machine:
    """What a cell runs on.

    Args:
        device: ``"cpu"`` or ``"cuda"``.
        workers: Processes that read images.
    """

    device: str
    workers: int

    def describe(self) -> dict[str, Any]:
        """Return versions and the name of the device."""
        name = torch.cuda.get_device_name() if self.device == "cuda" else f"CPU, {platform.machine()}"
        return {"device": name, "threads": torch.get_num_threads(), "versions": installed_versions()}


def model_name(settings: dict[str, Any]) -> str:
    """Return the model of a cell's settings with its arguments, as tables name it."""
    arguments = ", ".join(f"{key}={value}" for key, value in settings["arguments"].items())
    return f"{settings['model']}({arguments})" if arguments else settings["model"]


@dataclass(frozen=True)
class Cell:
    """A cell.

    Args:
        settings: All that its figures hang on, as JSON knows it.
        build_data: What builds the data module.
    """

    settings: dict[str, Any]
    build_data: BuildData

    @property
    def name(self) -> str:
        """Data set, category, model with its arguments and teacher, and seed."""
        parts = (self.settings["data"], self.settings["category"], model_name(self.settings), self.settings["backbone"])
        return "/".join((*parts, str(self.settings["seed"])))

    def record(self, folder: Path) -> Path:
        """Where its record stands: other settings, another file."""
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()
        place = folder / self.settings["data"] / self.settings["category"]
        return place / f"{self.settings['model']}_{self.settings['seed']}_{digest[:10]}.json"


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


def _compute(cell: Cell, machine: Machine) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Train and evaluate; what a record says of it, and the scores."""
    settings = cell.settings
    seed_everything(settings["seed"], verbose=False)
    model = methods.build(
        settings["model"],
        settings["arguments"],
        settings["backbone"],
        settings["pre_trained"],
        settings["image_size"],
    )
    datamodule = cell.build_data(
        train_batch_size=settings["batch"],
        eval_batch_size=_EVAL_BATCH,
        num_workers=machine.workers,
    )
    several = {"strategy": "ddp_spawn_find_unused_parameters_true"} if settings["devices"] > 1 else {}
    seconds = fit(
        model,
        datamodule,
        accelerator="gpu" if machine.device == "cuda" else "cpu",
        devices=settings["devices"],
        **{f"max_{unit}": count for unit, count in settings["length"].items()},
        **several,
    )
    datamodule.setup()
    figures, scores = evaluate(model, datamodule, machine.device, settings["scales"])
    defects = int(scores["labels"].sum())
    counts = {"train": len(datamodule.train_data), "normal": len(scores["labels"]) - defects, "anomalous": defects}
    return {"figures": figures, "images": counts, "train_seconds": round(seconds, 1)}, scores


def run(cell: Cell, record: Path, machine: Machine) -> dict[str, Any]:
    """Train and evaluate a cell, and leave its record: the figures, or what it failed by.

    Returns:
        The record.
    """
    record.parent.mkdir(parents=True, exist_ok=True)
    try:
        content, scores = _compute(cell, machine)
    except Exception as error:  # whatever a model, its data or the device raises: the other cells can still be run
        content = {"failure": {"type": type(error).__name__, "text": str(error)}}
    else:
        # Before the record, which says that the cell is done.
        replace(record.with_suffix(".npz"), lambda file: _save(file, scores))
    content = {"settings": cell.settings, **content, **machine.describe(), "date": now()}
    replace(record, lambda file: file.write_text(json.dumps(content, indent=1)))
    gc.collect()
    if machine.device == "cuda":
        torch.cuda.empty_cache()
    return content


def _save(file: Path, arrays: dict[str, np.ndarray]) -> None:
    with file.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
