# SPDX-License-Identifier: Apache-2.0
"""One model, trained and measured on the images of one part."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomalib.data import AnomalibDataModule
from anomalib.models.components import AnomalibModule
from torch import Tensor
from torch.utils.data import DataLoader

from rd_plugin.models.distillation import Distillation
from rd_plugin.post_processor import false_alarm_threshold
from rd_plugin.results import Share
from rd_plugin.storage import state_size

from .training import fit

__all__ = ["RATE", "Trial", "image_milliseconds", "run_trial"]

#: The false-alarm rate for which thresholds are set.
RATE = 0.01
# Of one image: the first calls, which set things up, and those whose median is taken.
_WARM_UP, _CALLS = 3, 15


@dataclass(frozen=True)
class Trial:
    """What a model has achieved on the test images of a part, and at what cost.

    Args:
        model: Name of the model.
        part: Name of the part.
        scores: Score of each test image, of shape ``(N,)``.
        defective: Whether each has a defect, of shape ``(N,)``.
        kinds: The kind of defect of each, empty for good ones.
        threshold: Threshold for a false-alarm rate of 1 %, from good images that are not among the test images.
        held_out: Number of those images.
        milliseconds: Time per image on one core.
        size: Weights and statistics, in bytes.
        seconds: Duration of the training.
    """

    model: str
    part: str
    scores: np.ndarray
    defective: np.ndarray
    kinds: tuple[str, ...]
    threshold: float
    held_out: int
    milliseconds: float
    size: int
    seconds: float

    @property
    def false_alarms(self) -> Share:
        """Good test images above the threshold."""
        return self._above(~self.defective)

    @property
    def defects_found(self) -> Share:
        """Defects above the threshold."""
        return self._above(self.defective)

    def found_of(self, kind: str) -> Share:
        """Return the defects of a kind above the threshold.

        Args:
            kind: One of ``kinds``.
        """
        return self._above(self.defective & (np.array(self.kinds) == kind))

    def _above(self, chosen: np.ndarray) -> Share:
        return Share(int((self.scores[chosen] > self.threshold).sum()), int(chosen.sum()))


def run_trial(
    name: str, model: AnomalibModule, datamodule: AnomalibDataModule, part: str, accelerator: str, steps: int
) -> Trial:
    """Train a model, set its threshold on the validation images, and measure it on the test images.

    Args:
        name: Name of the model.
        model: The model, untrained.
        datamodule: The images: good ones for training and validation, all kinds for the test.
        part: Name of the part.
        accelerator: Lightning's.
        steps: Length of the training in steps; 0 for one epoch.

    Raises:
        ValueError: If a score is not finite, or there are no good images or no defects in the test.
    """
    # anomalib's models would be validated after each epoch; their threshold is set below, as that of ours.
    limits: dict[str, Any] = {} if isinstance(model, Distillation) else {"limit_val_batches": 0}
    limits |= {"max_steps": steps, "max_epochs": -1} if steps else {"max_epochs": 1}
    seconds = fit(model, datamodule, accelerator=accelerator, devices=1, **limits)
    # Lightning has moved it back.
    model.to(model.trainer.strategy.root_device)
    good, _, _ = _scores(model, datamodule.val_dataloader())
    scores, defective, paths = _scores(model, datamodule.test_dataloader())
    if defective.all() or not defective.any():
        msg = f"{part}: a comparison needs good images and defects in the test, got {defective.sum()} defects."
        raise ValueError(msg)
    threshold, _, _ = false_alarm_threshold(good, RATE)
    return Trial(
        name,
        part,
        scores.numpy(),
        defective.numpy(),
        tuple(Path(path).parent.name if bad else "" for path, bad in zip(paths, defective, strict=True)),
        float(threshold),
        len(good),
        image_milliseconds(model.cpu(), datamodule),
        state_size(model),
        round(seconds, 1),
    )


@torch.inference_mode()
def image_milliseconds(model: AnomalibModule, datamodule: AnomalibDataModule) -> float:
    """Return the median of a core's milliseconds that one image takes, from its pixels in memory to its score.

    Args:
        model: A trained model on the CPU.
        datamodule: Its images.
    """
    image = next(iter(datamodule.test_dataloader())).image[:1]
    network, prepare = _steps(model)
    spent = []
    for _ in range(_WARM_UP + _CALLS):
        start = time.process_time()
        network(prepare(image))
        spent.append(1000 * (time.process_time() - start))
    return round(statistics.median(spent[_WARM_UP:]), 2)


def _steps(model: AnomalibModule) -> tuple[Any, Any]:
    """The network, and what prepares images for it."""
    pre_processor: Any = model.pre_processor
    return model.model, pre_processor.transform


@torch.inference_mode()
def _scores(model: AnomalibModule, images: DataLoader) -> tuple[Tensor, Tensor, list[str]]:
    """Scores, labels and files of images.

    Raises:
        ValueError: If a score is not finite.
    """
    model.eval()
    network, prepare = _steps(model)
    scores, labels, paths = [], [], list[str]()
    for batch in images:
        predicted = network(prepare(batch.image.to(model.device)))
        scores.append(predicted.pred_score.float().flatten().cpu())
        labels.append(batch.gt_label.bool().flatten())
        paths += batch.image_path
    found = torch.cat(scores)
    if not found.isfinite().all():
        msg = f"{int((~found.isfinite()).sum())} of {len(found)} scores are not finite."
        raise ValueError(msg)
    return found, torch.cat(labels), paths
