# SPDX-License-Identifier: Apache-2.0
"""One cell of a grid: a model with its arguments, trained and evaluated on one category with one seed."""

import math
import time
from collections.abc import Iterator
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomalib.data import AnomalibDataModule
from anomalib.models.components import AnomalibModule
from lightning import seed_everything
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torchvision.transforms.v2 import Compose, Transform
from torchvision.tv_tensors import Mask

from benchmarks.common.grid import Cell, Machine, Row
from benchmarks.common.training import fit
from rd_plugin import FusedReverseDistillation
from rd_plugin.comparison import image_milliseconds, methods
from rd_plugin.models.distillation import Distillation
from rd_plugin.models.fused_reverse_distillation.evidence import EVIDENCE

from .joined import Joined
from .measures import PixelMetrics, measure
from .perturbations import PERTURBATIONS, BrightnessNormalized, Turned, describe, take
from .printed_number import PrintedNumber, drop_hidden, region_beside
from .suites import BuildData

__all__ = ["COSTS", "build_cell", "evaluate", "model_name"]

# What a training and an image cost, by the clock and of one core, as records name it.
COSTS = ("train_seconds", "train_cpu_seconds", "image_cpu_ms")
_EVAL_BATCH = 16


def model_name(settings: dict[str, Any]) -> str:
    """Return the model of a cell's settings with its arguments, as tables name it."""
    arguments = ", ".join(f"{key}={value}" for key, value in sorted(settings["arguments"].items()))
    name = f"{settings['model']}({arguments})" if arguments else settings["model"]
    return f"{name}, brightness normalized" if settings.get("brightness") else name


def build_cell(settings: dict[str, Any], build_data: BuildData, machine: Machine) -> Cell:
    """Return a cell.

    Args:
        settings: All that its figures depend on.
        build_data: What builds the data module.
        machine: What it runs on.
    """
    model, images = model_name(settings), describe(settings)
    parts = (settings["data"], settings["category"], model, images, settings["backbone"], settings["seed"])
    return Cell(settings, "/".join(map(str, parts)), partial(_compute, settings, build_data, machine))


def _predictions(model: AnomalibModule, images: Tensor, scales: str) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    """Name, scores and maps, if any, of a batch: the model's own, or those of subsets of its scales or evidence."""
    if scales == "all":
        found = model.model(images)
        yield "", found.pred_score, found.anomaly_map
        return
    if scales == "evidence":
        yield from _ablated(model, images)
        return
    if not isinstance(model, Distillation):
        msg = "Subsets of scales exist for our models only."
        raise TypeError(msg)
    deviations = model.model.deviations(images)
    for count in range(1, len(deviations) + 1):
        for subset in combinations(range(len(deviations)), count):
            maps = model.model.anomaly_map_generator([deviations[index] for index in subset], images.shape[-2:])
            yield "+".join(f"M{index + 1}" for index in subset), model.model.image_score(maps), maps


def _ablated(model: AnomalibModule, images: Tensor) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    """The same of the fused model with all its evidence, without each kind, and with each alone."""
    if not isinstance(model, FusedReverseDistillation):
        msg = "Kinds of evidence exist for FusedReverseDistillation only."
        raise TypeError(msg)
    network = model.model
    evidence = network.find_evidence(*network.distill(network.network_inputs(images)))
    kept = {"all": torch.ones(len(EVIDENCE))}
    for name, kind in zip(EVIDENCE, torch.eye(len(EVIDENCE)), strict=True):
        kept |= {f"without {name}": 1 - kind, f"{name} alone": kind}
    for name, kinds in kept.items():
        found = network.fuse(evidence * kinds.to(evidence).view(1, -1, 1, 1), images.shape[-2:])
        yield name, found.pred_score, found.anomaly_map


@torch.inference_mode()
def evaluate(
    model: AnomalibModule, datamodule: AnomalibDataModule, device: str, scales: str, *, by_region: bool = True
) -> list[Row]:
    """Return a row for each map of a model: figures on all test images, and the images' scores, labels and kinds.

    Of a model for several categories there is a row for each, with the figures of its images alone.
    ``by_region`` says whether maps are compared with masks, too, which takes longer than all else.
    """
    model.eval().to(device)
    transform = model.pre_processor.transform
    scores: dict[str, list[Tensor]] = {}
    maps: dict[str, list[Tensor]] = {}
    labels, masks = [], []
    paths: list[str] = []
    for batch in datamodule.test_dataloader():
        images = transform(batch.image.to(device))
        for name, score, anomaly_map in _predictions(model, images, scales):
            scores.setdefault(name, []).append(score.float().flatten().cpu())
            if anomaly_map is not None:
                maps.setdefault(name, []).append(anomaly_map.float().reshape(-1, *images.shape[-2:]).cpu())
        labels.append(batch.gt_label.bool())
        paths += batch.image_path or []
        if by_region and batch.gt_mask is not None:
            mask = transform(Mask(batch.gt_mask)).as_subclass(Tensor)
            masks.append(mask.reshape(-1, *images.shape[-2:]) > 0)
    truth = torch.cat(labels)
    # In MVTec AD's layout a defect's kind is its folder.
    kinds = np.array([Path(path).parent.name for path in paths]) if paths else None
    everything: dict[str | None, Tensor] = {None: torch.ones_like(truth)}
    rows = []
    for category, chosen in (datamodule.chosen(paths) if isinstance(datamodule, Joined) else everything).items():
        pixels = PixelMetrics(torch.cat(masks)[chosen]) if masks and maps else None
        images_of = {"labels": truth[chosen].numpy(), "kinds": None if kinds is None else kinds[chosen.numpy()]}
        for name, parts in scores.items():
            score = torch.cat(parts)[chosen]
            drawn = torch.cat(maps[name])[chosen] if name in maps else None
            figures = measure(score, drawn, truth[chosen], pixels)
            if pixels is not None and drawn is not None:
                images_of |= {"areas": pixels.areas().numpy(), "peak_distances": pixels.peak_distances(drawn).numpy()}
            rows.append({"part": name, "tested": category, **figures, "scores": score.numpy(), **images_of})
    return rows


def _evaluate_perturbed(model: AnomalibModule, datamodule: AnomalibDataModule, device: str, seed: int) -> Iterator[Row]:
    """Return the figures by image under each perturbation."""
    as_they_are = datamodule.test_augmentations
    for name, perturb in PERTURBATIONS.items():
        datamodule.test_augmentations = Compose([as_they_are, perturb]) if as_they_are else perturb
        datamodule.setup()
        # The same noise for every model.
        torch.manual_seed(seed)
        for row in evaluate(model, datamodule, device, "all", by_region=False):
            yield {**row, "perturbation": name}


def _prepare(settings: dict[str, Any], datamodule: AnomalibDataModule) -> None:
    """Set the data up as the trainer does, who then leaves it as it is, with the training images that are asked for."""
    datamodule.prepare_data()
    datamodule.setup(TrainerFn.FITTING)
    if settings["train_images"]:
        take(datamodule, settings["train_images"], settings["draw"])


def _trainer_length(settings: dict[str, Any], datamodule: AnomalibDataModule) -> dict[str, int]:
    """Return the trainer's limits: steps in epochs, too, by which some plan their learning rate."""
    if settings["epochs"]:
        return {"max_epochs": settings["epochs"]}
    batches = math.ceil(len(datamodule.train_dataloader()) / settings["devices"])
    return {"max_steps": settings["steps"], "max_epochs": math.ceil(settings["steps"] / batches)}


def _augmentations(settings: dict[str, Any]) -> Transform | None:
    """Return what is done to all images."""
    if settings["printed"] in {"printed", "left out"}:
        return PrintedNumber()
    return Turned(settings["turned"]) if settings["turned"] else None


def _counts(labels: np.ndarray) -> dict[str, int]:
    """Return the counts of good and of defective images."""
    return {"count_normal": int((~labels).sum()), "count_anomalous": int(labels.sum())}


def _compute(settings: dict[str, Any], build_data: BuildData, machine: Machine) -> list[Row]:
    """Train and evaluate."""
    seed_everything(settings["seed"], verbose=False)
    brightness = BrightnessNormalized(settings["brightness"]) if settings["brightness"] else None
    datamodule = build_data(
        train_batch_size=settings["batch"],
        eval_batch_size=_EVAL_BATCH,
        num_workers=machine.workers,
        augmentations=_augmentations(settings),
    )
    _prepare(settings, datamodule)
    region = {"roi": region_beside(datamodule)} if settings["printed"] == "left out" else {}
    model = methods.build(
        settings["model"],
        settings["arguments"] | region,
        settings["backbone"],
        settings["pre_trained"],
        settings["image_size"],
        brightness,
        settings.get("crop"),
    )
    if brightness is not None:
        before = Compose(model.pre_processor.transform.transforms[:-1])
        brightness.fit(before(item.image) for item in datamodule.train_data)
    several = {"strategy": "ddp_spawn_find_unused_parameters_true"} if settings["devices"] > 1 else {}
    start = time.process_time()
    seconds = fit(
        model,
        datamodule,
        accelerator=machine.accelerator,
        devices=settings["devices"],
        **_trainer_length(settings, datamodule),
        **several,
    )
    cost: dict[str, float] = {"count_train": len(datamodule.train_data), "train_seconds": round(seconds, 1)}
    train_cpu_seconds = round(time.process_time() - start, 1)
    datamodule.setup()
    if settings["printed"]:
        drop_hidden(datamodule)
    rows = evaluate(model, datamodule, machine.device, settings["scales"], by_region=not settings["printed"])
    if machine.device == "cpu":
        # Unlike the clock, they hardly depend on what else the machine is doing.
        cost |= {"train_cpu_seconds": train_cpu_seconds, "image_cpu_ms": image_milliseconds(model, datamodule)}
    if settings["perturbed"]:
        rows += _evaluate_perturbed(model, datamodule, machine.device, settings["seed"])
    return [{"perturbation": "", **row, **_counts(row["labels"]), **cost} for row in rows]
