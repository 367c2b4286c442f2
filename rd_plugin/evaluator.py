# SPDX-License-Identifier: Apache-2.0
"""Evaluation that leaves out what the data cannot answer."""

import logging
from collections.abc import Iterable

from anomalib.metrics import AUPRO, AUROC, AnomalibMetric, Evaluator, F1Score
from lightning.pytorch import LightningModule, Trainer
from torch.nn import ModuleList

__all__ = ["DistillationEvaluator"]

logger = logging.getLogger(__name__)


class DistillationEvaluator(Evaluator):
    """The papers' metrics: image AUROC, image F1, pixel AUROC, pixel F1 and AUPRO on the test set.

    AUPRO is the paper's PRO: the area under the per-region overlap up to 30 % false positives, pooled over images.
    On data without masks the pixel metrics are left out with one warning.
    """

    def __init__(self) -> None:
        super().__init__(
            test_metrics=[
                AUROC(fields=["pred_score", "gt_label"], prefix="image_"),
                F1Score(fields=["pred_label", "gt_label"], prefix="image_"),
                AUROC(fields=["anomaly_map", "gt_mask"], prefix="pixel_", strict=False),
                F1Score(fields=["pred_mask", "gt_mask"], prefix="pixel_", strict=False),
                AUPRO(fields=["anomaly_map", "gt_mask"], prefix="pixel_", strict=False),
            ],
        )

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the metrics that were fed at least once."""
        every = self.test_metrics
        self.test_metrics = self._measured(every)
        try:
            super().on_test_epoch_end(trainer, pl_module)
        finally:
            self.test_metrics = every

    @staticmethod
    def _measured(metrics: Iterable[AnomalibMetric]) -> ModuleList:
        """The metrics that have seen data; the others are named in a warning."""
        metrics = list(metrics)
        measured = [metric for metric in metrics if metric.update_called]
        if left_out := [metric.name for metric in metrics if not metric.update_called]:
            logger.warning("The test data has no masks: %s are left out.", ", ".join(left_out))
        return ModuleList(measured)
