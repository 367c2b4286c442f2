# SPDX-License-Identifier: Apache-2.0
"""A sample of normal images, written to the model's record by a training."""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed
from anomalib.data import AnomalibDataModule, AnomalibDataset, ImageBatch, InferenceBatch
from anomalib.data.utils import LabelName
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from rd_plugin.data.check import MAX_PIXELS
from rd_plugin.data.part_names import group_by_part
from rd_plugin.drift import STATISTICS, Reference, check_outliers, file_statistics
from rd_plugin.drift.reference import LARGEST, sample
from rd_plugin.provenance import Provenance, RecordedModule

from .courtesy import spared
from .data_check import DataCheck

__all__ = ["ReferenceWriter"]

logger = logging.getLogger(__name__)

# Of many parts, at least as many images of each are kept.
_FEWEST = 64


class ReferenceWriter(Callback):
    """Record what normal images look like, and how they score.

    Statistics are computed from files of training images, since they do not depend on the weights. Scores come from
    normal validation images, which are used neither for training nor for testing. Test images are never used. Without
    an anomalib data module the files are unknown, and there is no reference. With several processes, the first one
    records the scores of all.

    Each of several parts has its own reference.

    For a :class:`~rd_plugin.provenance.RecordedModule`. It must come after
    :class:`~rd_plugin.callbacks.ProvenanceWriter` and the post-processor in the list of callbacks.

    Args:
        max_pixels: Maximum number of pixels in an image; larger ones are left out.
    """

    def __init__(self, max_pixels: int = MAX_PIXELS) -> None:
        self.max_pixels = max_pixels
        self.failed = False
        # By part, or by an empty name if there is one.
        self._statistics: dict[str, np.ndarray] | None = None
        self._not_held_out: set[str] = set()
        self._scores: dict[str, float] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the statistics of a sample of the training images, and warn of outliers among them."""
        self.failed = False
        if trainer.is_global_zero:
            self._begin(trainer, pl_module)

    @spared("The reference that new images are compared with")
    def _begin(self, trainer: Trainer, pl_module: LightningModule) -> None:
        datamodule = getattr(trainer, "datamodule", None)
        self._statistics = None
        if isinstance(datamodule, AnomalibDataModule):
            paths = _normal_files(datamodule.train_data)
            self._statistics = {}
            for part, indices in _by_part(paths, getattr(datamodule, "parts", ())).items():
                mine = np.array([paths[index] for index in indices], dtype=object)
                limit = max(LARGEST // max(len(getattr(datamodule, "parts", ())), 1), _FEWEST)
                found = file_statistics(sample(mine, largest=limit), self.max_pixels)
                self._statistics[part] = np.array(list(found.values())).reshape(len(found), len(STATISTICS))
                for problem in check_outliers(found):
                    named = replace(problem, message=f"{part}: {problem.message}") if part else problem
                    logger.warning("Data check: %s", named)
                    for check in trainer.callbacks:  # type: ignore[attr-defined]
                        if isinstance(check, DataCheck):
                            check.findings = [*(check.findings or ()), named]
            tested = _files(getattr(datamodule, "test_data", None))
            self._not_held_out = {*_files(datamodule.train_data), *tested}
        self._record(cast("RecordedModule", pl_module))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Discard the scores of an earlier validation."""
        del trainer, pl_module
        self._scores = {}

    @spared("The reference that new images are compared with")
    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Keep the scores of held-out normal images."""
        del pl_module, args, kwargs
        batch = cast("ImageBatch", outputs)
        if not _is_training(trainer) or batch.gt_label is None or batch.pred_score is None:
            return
        scores = batch.pred_score.flatten().tolist()
        for path, defective, score in zip(batch.image_path or (), batch.gt_label.tolist(), scores, strict=False):
            if not defective and math.isfinite(score):
                self._scores[str(Path(path))] = score

    @spared("The reference that new images are compared with")
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record their scores, normalized by the thresholds that the post-processor has just set."""
        if not _is_training(trainer):
            return
        if trainer.world_size > 1:
            parts: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(parts, self._scores)
            self._scores = {name: score for part in parts for name, score in part.items()}
        if trainer.is_global_zero and self._statistics is not None:
            self._scores = {name: score for name, score in self._scores.items() if name not in self._not_held_out}
            self._record(cast("RecordedModule", pl_module))

    def _record(self, model: RecordedModule) -> None:
        """Add the reference to the model's record."""
        references: dict[str, dict[str, Any]] = {}
        paths = sorted(self._scores)
        names = [part for part in self._statistics or {} if part]
        scored = _by_part(paths, names)
        for part, statistics in (self._statistics or {}).items():
            scores = torch.tensor([self._scores[paths[index]] for index in scored.get(part, ())])
            post_processor: Any = model.post_processor
            if post_processor is not None and len(scores):
                post_processor = post_processor.of(part) if getattr(post_processor, "parts", ()) else post_processor
                scores = post_processor(InferenceBatch(pred_score=scores.to(model.device))).pred_score
            references[part] = Reference(statistics, sample(scores.double().cpu().numpy())).plain()
        reference = references.pop("", {})
        known = model.provenance or Provenance()
        of_parts = {part: {**known.parts.get(part, {}), "reference": own} for part, own in references.items()}
        model.provenance = replace(known, reference=reference, parts=of_parts)


def _is_training(trainer: Trainer) -> bool:
    """Whether a validation is part of a training."""
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking


def _by_part(paths: Sequence[str], names: Sequence[str]) -> dict[str, list[int]]:
    """Indices of files by their parts; of all by an empty name, if there are no parts."""
    return group_by_part(paths, names) if names else {"": list(range(len(paths)))}


def _files(dataset: AnomalibDataset | None) -> set[str]:
    """The files of a data set."""
    return set() if dataset is None else {str(Path(path)) for path in dataset.samples["image_path"]}


def _normal_files(dataset: AnomalibDataset) -> list[str]:
    """The files of its normal images."""
    samples = dataset.samples
    return [str(path) for path in samples["image_path"][samples["label_index"] == int(LabelName.NORMAL)]]
