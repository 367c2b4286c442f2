# SPDX-License-Identifier: Apache-2.0
"""Evaluation that leaves out metrics that the data do not define."""

import logging
from statistics import fmean
from typing import Any, cast

import torch
import torch.distributed
from anomalib import metrics
from anomalib.data import Batch, ImageBatch
from anomalib.metrics import AUROC, Evaluator, F1Score
from anomalib.utils.cv import connected_components_cpu, connected_components_gpu
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from rd_plugin.by_part import parts_in_use
from rd_plugin.data.batches import some_of, without_repeats
from rd_plugin.data.part_names import group_by_part
from rd_plugin.data.region_pixels import pixels_inside, region_of

__all__ = ["AUPRO", "DistillationEvaluator"]

logger = logging.getLogger(__name__)

# What a field of the ground truth holds examples of, for messages.
_TRUTHS = {"gt_label": "images", "gt_mask": "masks"}
# What the post-processor makes a field of the predictions by.
_THRESHOLDS = {"pred_label": "image_threshold", "pred_mask": "pixel_threshold"}
# Label of pixels outside the region of interest.
_OUTSIDE = -1


class AUPRO(metrics.AUPRO):
    """anomalib's AUPRO, in which a mask that marks every pixel is a region, too, and pixels can be left out.

    anomalib treats the lowest label in a mask as its background, and so counts the pixels of such a mask as normal.
    """

    def update(self, batch: Batch, inside: Tensor | None = None) -> None:  # type: ignore[override]
        """Add a batch.

        Args:
            batch: Images with masks of shape ``(N, H, W)``.
            inside: Which pixels count, booleans of shape ``(1, H, W)``; by default all. A defect is cut at its border.
        """
        seen = len(self.target)
        super().update(batch)
        if inside is not None and len(self.target) > seen:
            self.target[-1] = torch.where(inside, self.target[-1].to(torch.int8), _OUTSIDE)

    def perform_cca(self) -> Tensor:
        """Return the regions of all masks, of shape ``(N, 1, H, W)``, with 0 for the background."""
        # A border of background, which no region reaches, so that every mask has a background.
        masks = F.pad((dim_zero_cat(self.target) > 0).unsqueeze(1).float(), (1, 1, 1, 1))
        regions = connected_components_gpu(masks) if masks.is_cuda else connected_components_cpu(masks)
        return regions[..., 1:-1, 1:-1]

    def compute_pro(self, cca: Tensor, preds: Tensor) -> tuple[Tensor, Tensor]:
        """Return false-positive rates and overlaps of the pixels that count.

        Args:
            cca: Regions as :meth:`perform_cca` returns them.
            preds: Anomaly maps with as many pixels.
        """
        counted = dim_zero_cat(self.target).flatten() != _OUTSIDE
        return super().compute_pro(cca.flatten()[counted], preds.flatten()[counted])


class DistillationEvaluator(Evaluator):
    """The papers' metrics: image AUROC, image F1, pixel AUROC, pixel F1 and AUPRO on the test set.

    Image and pixel AUROC are measured on the validation set, if it has the required images, so that callbacks can
    monitor them.

    AUPRO is the paper's PRO: the area under the per-region overlap up to 30 % false positives, pooled over images.
    Metrics that the test data do not define are left out with one warning: pixel metrics without masks, all metrics
    without both normal and anomalous examples, and F1 where no validation has set a threshold.

    Pixels outside the model's region of interest do not count. A defect that is partly outside is cut at its border. An
    image whose defect is completely outside keeps its label; a warning states their number.

    Each of several parts is measured separately: ``image_AUROC/cap`` is that of the part ``cap``, and ``image_AUROC``
    the mean of the parts in which it is defined, as in the papers. Nothing is measured on the images of all parts
    together, which would be another quantity.
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
        self._hidden = 0
        self._reported = 0
        # Not modules of the model: their values are logged, not they themselves.
        self._of_parts: dict[str, DistillationEvaluator] = {}

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the metrics."""
        self._begin(self.val_metrics, trainer, pl_module)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the metrics."""
        self._begin(self.test_metrics, trainer, pl_module)

    def _begin(self, measured: nn.ModuleList, trainer: Trainer, pl_module: LightningModule) -> None:
        self._seen, self._hidden = {}, 0
        self._of_parts = {part: type(self)().to(pl_module.device) for part in parts_in_use(trainer, pl_module)}
        if trainer.world_size == 1:
            for each in self._of_parts.values():
                each.metrics_to_cpu([*each.val_metrics, *each.test_metrics])
        # Lightning resets those that are logged, not those that were left out.
        for metric in measured:
            cast("Metric", metric).reset()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int = 0,
        dataloader_idx: int = 0,
    ) -> None:
        """Feed the metrics, and note which classes the ground truth holds."""
        del outputs
        own = without_repeats(trainer, cast("ImageBatch", batch), batch_idx, dataloader_idx)
        self._measure("test_metrics" if trainer.testing else "val_metrics", pl_module, own)

    on_test_batch_end = on_validation_batch_end

    def _measure(self, kind: str, module: LightningModule, batch: ImageBatch | None) -> None:
        """Feed the metrics, those of each part with its images."""
        if batch is None:
            return
        if self._of_parts:
            for part, indices in group_by_part(batch.image_path or (), list(self._of_parts)).items():
                self._of_parts[part]._measure(kind, module, some_of(batch, indices))  # noqa: SLF001
            return
        region = region_of(module)
        within = pixels_inside(batch, region)
        for metric in getattr(self, kind):
            if region is not None and isinstance(metric, AUPRO) and batch.gt_mask is not None:
                metric.update(batch, region.inside(batch.gt_mask.shape[-2:])[0])
            else:
                cast("Metric", metric).update(within)
        for field in ("gt_label", "gt_mask"):
            truth = getattr(within, field, None)
            if truth is not None:
                self._seen.setdefault(field, set()).update({bool(truth.any()), bool(truth.all())})
        if region is not None and batch.gt_mask is not None:
            marked, seen = (mask.flatten(1).any(dim=1) for mask in (batch.gt_mask, cast("Tensor", within.gt_mask)))
            self._hidden += int((marked & ~seen).sum())

    def _report_hidden(self) -> None:
        """Warn, once for each number, of images whose defect is outside the region of interest."""
        if self._hidden and self._hidden != self._reported:
            logger.warning(
                "The defect of %d image%s is completely outside the region of interest (roi): the model cannot detect "
                "it. Image metrics count %s as anomalous, by the label.",
                self._hidden,
                *(("s", "them") if self._hidden > 1 else ("", "it")),
            )
        self._reported = self._hidden

    def _share_seen(self, trainer: Trainer) -> None:
        """Note what the other processes have seen, so that all log the same metrics."""
        if trainer.world_size == 1:
            return
        everyone = {"": self, **self._of_parts}
        found: list[Any] = [None] * trainer.world_size
        own = {part: (each._seen, each._hidden) for part, each in everyone.items()}  # noqa: SLF001
        torch.distributed.all_gather_object(found, own)
        for part, each in everyone.items():
            seen: dict[str, set[bool]] = {}
            for process in found:
                for field, values in process[part][0].items():
                    seen.setdefault(field, set()).update(values)
            each._seen, each._hidden = seen, sum(process[part][1] for process in found)  # noqa: SLF001

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compute on the CPU, unless there are several processes, on one machine or on several."""
        if trainer.world_size == 1:
            super().setup(trainer, pl_module, stage)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the metrics that are defined on this data."""
        self._share_seen(trainer)
        if self._of_parts:
            self._log_parts(pl_module, "val_metrics")
            return
        self._report_hidden()
        every = self.val_metrics
        self.val_metrics = nn.ModuleList(metric for metric in every if self._undefined(metric, None) is None)
        try:
            super().on_validation_epoch_end(trainer, pl_module)
        finally:
            self.val_metrics = every

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the metrics that are defined on this data, and say which are not."""
        self._share_seen(trainer)
        if self._of_parts:
            if undefined := self._log_parts(pl_module, "test_metrics"):
                listed = ", ".join(f"{what} of {', '.join(parts)}" for what, parts in undefined.items())
                logger.warning("Metrics left out, undefined on the test data: %s.", listed)
            return
        self._report_hidden()
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

    def _log_parts(self, module: LightningModule, kind: str) -> dict[str, list[str]]:
        """Log the metrics of each part and their means; return those that are left out, with the parts."""
        self._hidden = sum(each._hidden for each in self._of_parts.values())  # noqa: SLF001
        self._report_hidden()
        values, left_out = dict[str, dict[str, float]](), dict[str, list[str]]()
        for part, each in self._of_parts.items():
            post_processor: Any = getattr(module, "post_processor", None)
            if getattr(post_processor, "parts", ()):
                post_processor = post_processor.of(part)
            measured: list[Any] = list(getattr(each, kind))
            for metric in measured:
                # Validation measures nothing that needs a threshold.
                needed = post_processor if kind == "test_metrics" else None
                if reason := each._undefined(metric, needed):  # noqa: SLF001
                    left_out.setdefault(f"{metric.name} ({reason})", []).append(part)
                else:
                    values.setdefault(metric.name, {})[part] = float(metric.compute())
        # Lightning adds ``log`` to callbacks.
        log: Any = self.log
        for name, found in values.items():
            logged = {name: fmean(found.values()), **{f"{name}/{part}": value for part, value in found.items()}}
            for each_name, value in logged.items() if kind == "test_metrics" else [(name, logged[name])]:
                log(each_name, value)
        return left_out

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
