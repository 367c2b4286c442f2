# SPDX-License-Identifier: Apache-2.0
"""Evaluation that leaves out what the data cannot answer."""

import logging
from typing import Any, cast

import torch
from anomalib import metrics
from anomalib.data import Batch
from anomalib.metrics import AUROC, Evaluator, F1Score
from anomalib.utils.cv import connected_components_cpu, connected_components_gpu
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

__all__ = ["AUPRO", "DistillationEvaluator"]

logger = logging.getLogger(__name__)

# What a field of the ground truth holds examples of, for messages.
_TRUTHS = {"gt_label": "images", "gt_mask": "masks"}
# What the post-processor makes a field of the predictions by.
_THRESHOLDS = {"pred_label": "image_threshold", "pred_mask": "pixel_threshold"}


class AUPRO(metrics.AUPRO):
    """anomalib's AUPRO, in which a mask that marks every pixel is a region, too.

    anomalib treats the lowest label in a mask as its background, and so counts the pixels of such a mask as normal.
    """

    def perform_cca(self) -> Tensor:
        """Return the regions of all masks, of shape ``(N, 1, H, W)``, with 0 for the background."""
        # A border of background, which no region reaches, so that every mask has a background.
        masks = F.pad(dim_zero_cat(self.target).unsqueeze(1).float(), (1, 1, 1, 1))
        regions = connected_components_gpu(masks) if masks.is_cuda else connected_components_cpu(masks)
        return regions[..., 1:-1, 1:-1]


class DistillationEvaluator(Evaluator):
    """The papers' metrics: image AUROC, image F1, pixel AUROC, pixel F1 and AUPRO on the test set.

    Image and pixel AUROC are measured on the validation set, if it has the required images, so that callbacks can
    monitor them.

    AUPRO is the paper's PRO: the area under the per-region overlap up to 30 % false positives, pooled over images.
    What the test data cannot answer is left out with one warning: pixel metrics without masks, all metrics without
    both normal and anomalous examples, and F1 where no validation has set a threshold.
    """

    def __init__(self) -> None:
        super().__init__(
            # Those that need no thresholds, which a validation only sets.
            val_metrics=[
                AUROC(fields=["pred_score", "gt_label"], prefix="image_", strict=False),
                AUROC(fields=["anomaly_map", "gt_mask"], prefix="pixel_", strict=False),
            ],
            test_metrics=[
                AUROC(fields=["pred_score", "gt_label"], prefix="image_"),
                F1Score(fields=["pred_label", "gt_label"], prefix="image_", strict=False),
                AUROC(fields=["anomaly_map", "gt_mask"], prefix="pixel_", strict=False),
                F1Score(fields=["pred_mask", "gt_mask"], prefix="pixel_", strict=False),
                AUPRO(fields=["anomaly_map", "gt_mask"], prefix="pixel_", strict=False),
            ],
        )
        self._seen: dict[str, set[bool]] = {}

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the metrics."""
        del trainer, pl_module
        self._begin(self.val_metrics)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the metrics."""
        del trainer, pl_module
        self._begin(self.test_metrics)

    def _begin(self, measured: nn.ModuleList) -> None:
        self._seen = {}
        # Lightning resets those that are logged, not those that were left out.
        for metric in measured:
            cast("Metric", metric).reset()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Feed the metrics, and note which classes the ground truth holds."""
        super().on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
        self._note(batch)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Feed the metrics, and note which classes the ground truth holds."""
        super().on_test_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
        self._note(batch)

    def _note(self, batch: Batch) -> None:
        for field in ("gt_label", "gt_mask"):
            truth = getattr(batch, field, None)
            if truth is not None:
                self._seen.setdefault(field, set()).update({bool(truth.any()), bool(truth.all())})

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the metrics that are defined on this data."""
        every = self.val_metrics
        self.val_metrics = nn.ModuleList(metric for metric in every if self._undefined(metric, None) is None)
        try:
            super().on_validation_epoch_end(trainer, pl_module)
        finally:
            self.val_metrics = every

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the metrics that are defined on this data, and say which are not."""
        every, post_processor = self.test_metrics, getattr(pl_module, "post_processor", None)
        left_out = {metric.name: reason for metric in every if (reason := self._undefined(metric, post_processor))}
        if left_out:
            listed = ", ".join(f"{name} ({reason})" for name, reason in left_out.items())
            logger.warning("Metrics left out, undefined on the test data: %s.", listed)
        self.test_metrics = nn.ModuleList(metric for metric in every if metric.name not in left_out)
        try:
            super().on_test_epoch_end(trainer, pl_module)
        finally:
            self.test_metrics = every

    def _undefined(self, metric: Any, post_processor: nn.Module | None) -> str | None:
        """Why one of the metrics has no value on the data seen, or ``None`` if it has one."""
        prediction, truth = metric.fields
        if truth not in self._seen:
            return f"no {_TRUTHS[truth]}"
        if self._seen[truth] != {False, True}:
            return f"not both normal and anomalous {_TRUTHS[truth]}"
        # anomalib passes scores on as labels if it has no threshold for them.
        if prediction in _THRESHOLDS and getattr(post_processor, _THRESHOLDS[prediction], torch.zeros(())).isnan():
            return "no threshold"
        return None if metric.update_called else f"no {prediction}"
