# SPDX-License-Identifier: Apache-2.0
"""A post-processor that sets thresholds, also from normal images alone."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np
import torch
from anomalib.data import Batch, ImageBatch, InferenceBatch
from anomalib.post_processing import PostProcessor
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from scipy.stats import betabinom
from torch import Tensor
from torchmetrics import CatMetric

from rd_plugin.by_part import PostProcessorByPart
from rd_plugin.components.scale import bend
from rd_plugin.data.batches import without_repeats
from rd_plugin.data.crop import on_whole_image
from rd_plugin.data.crop_steps import crop_steps
from rd_plugin.data.region_pixels import pixels_inside, region_of
from rd_plugin.export.constants import Constants
from rd_plugin.results import RegionRules, counting_level, find_regions
from rd_plugin.storage import local_copy, printable

__all__ = ["DistillationPostProcessor", "ThresholdType", "false_alarm_threshold"]

logger = logging.getLogger(__name__)

ThresholdType = Literal["auto", "f1", "false_alarms"]

_CONFIDENCE = 0.95
# Number of new normal images for which the interval of a false-alarm rate is stated.
_NEW_IMAGES = 100
# With thresholds from normal images, the range of scores, of which the threshold is the middle, in distances from the
# lowest score to the threshold. So the lowest is a sixth among normalized scores: pictures of normal images are blue.
# Scores that are clipped need more room.
_RANGE, _CLIPPED_RANGE = 3.0, 8.0
_RULES = ("min_area", "min_peak", "pixel_size")
# In place of a range of 0.
_NO_RANGE = 1e-30


def false_alarm_threshold(scores: Tensor, rate: float) -> tuple[Tensor, float, tuple[float, float]]:
    """Compute a threshold for a false-alarm rate from the scores of normal images.

    Of ``n`` normal images, ``m`` are above the threshold, which is the highest score of the others. The probability
    that a new normal image is above it follows Beta(m + 1, n - m) for every distribution of the scores (order
    statistics, as in split conformal prediction). ``m`` is the largest number for which the mean of that distribution,
    (m + 1) / (n + 1), is at most ``rate``. With too few images there is no such number, and the threshold is the
    highest score. The number of images above it among 100 new normal images follows the beta-binomial distribution
    with the same parameters.

    Args:
        scores: Scores of normal images that were not used for training, of shape ``(N,)``.
        rate: False-alarm rate, the share of normal images that are called anomalous, in (0, 1).

    Returns:
        The threshold, a scalar; the expected false-alarm rate; and the interval that holds the rate among 100 new good
        images, taken under the same conditions, with a probability of at least 95 %.

    Raises:
        ValueError: If there are no scores.

    Example:
        >>> threshold, expected, _ = false_alarm_threshold(torch.arange(99.0), rate=0.05)
        >>> float(threshold), expected
        (94.0, 0.05)
    """
    count = len(scores)
    if count == 0:
        msg = "scores must hold at least one score of a normal image, got none."
        raise ValueError(msg)
    # A tolerance, since 0.05 * 100 may be less than 5.
    above = min(max(int(rate * (count + 1) + 1e-9) - 1, 0), count - 1)
    threshold = scores.sort().values[count - 1 - above]
    tail = (1 - _CONFIDENCE) / 2
    low, high = betabinom.ppf([tail, 1 - tail], _NEW_IMAGES, above + 1, count - above) / _NEW_IMAGES
    return threshold, (above + 1) / (count + 1), (float(low), float(high))


class DistillationPostProcessor(PostProcessorByPart):
    """anomalib's post-processor, which can set thresholds on normal images alone.

    anomalib's own post-processor sets the thresholds with the best F1; without a defect in the validation set, it takes
    the highest score. Without defects, this class sets thresholds for a false-alarm rate. The pixel threshold has the
    same rate of normal images with any pixel above it.

    If the data module has several parts, each has its own thresholds and ranges, set on its own images; see
    :class:`~rd_plugin.by_part.PostProcessorByPart`.

    A score that is not a number counts as anomalous. In a validation, images whose score or map is not finite are left
    out of thresholds and range, with a warning.

    Attributes:
        expected_false_alarms: After a validation that set thresholds on normal images: their number, the expected
            false-alarm rate, and the interval of the rate among 100 new normal images; ``None`` otherwise.

    Args:
        threshold: ``"f1"`` (anomalib's), ``"false_alarms"`` (from the validation set's normal images, even if it has
            defects) or ``"auto"``: ``"f1"`` if the validation set has defects.
        false_alarm_rate: Share of normal images that are called anomalous, in (0, 1).
        min_area: Regions with a smaller area do not make an image anomalous; see
            :class:`~rd_plugin.results.RegionRules`. Thresholds are set accordingly.
        min_peak: Likewise, regions with a lower peak. Thresholds do not depend on it, so there are fewer false alarms.
        pixel_size: Side of a pixel of the file in millimetres, for ``min_area`` in square millimetres.
        **arguments: Arguments of anomalib's post-processor.

    Raises:
        ValueError: If an argument is out of range.
    """

    # Default of checkpoints and torch exports of version 0.2, whose scores are cut off at 1 as anomalib's are.
    clip_scores = True
    min_area, min_peak = 0.0, 0.0
    pixel_size: float | None = None
    # Filled while a graph is exported.
    _constants = torch.empty(0)

    def __init__(
        self,
        threshold: ThresholdType = "auto",
        false_alarm_rate: float = 0.01,
        min_area: float = 0.0,
        min_peak: float = 0.0,
        pixel_size: float | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.clip_scores = False
        RegionRules(min_area, min_peak, pixel_size)
        self.min_area, self.min_peak, self.pixel_size = min_area, min_peak, pixel_size
        if threshold not in {"auto", "f1", "false_alarms"}:
            msg = f"threshold must be 'auto', 'f1' or 'false_alarms', got {threshold!r}."
            raise ValueError(msg)
        if not 0 < false_alarm_rate < 1:
            msg = f"false_alarm_rate must be a fraction between 0 and 1, got {false_alarm_rate}."
            raise ValueError(msg)
        for name in ("image_sensitivity", "pixel_sensitivity"):
            if not self.enable_normalization and getattr(self, name) != 0.5:
                msg = f"{name} needs normalized scores: leave it out, or enable_normalization=False."
                raise ValueError(msg)
        self.threshold: ThresholdType = threshold
        self.false_alarm_rate = false_alarm_rate
        self.expected_false_alarms: tuple[int, float, tuple[float, float]] | None = None
        self._reported: tuple[int, float, tuple[float, float]] | None = None
        self._good_scores = CatMetric()
        self._good_peaks = CatMetric()
        self._defects = CatMetric()
        self._validated = 0
        self._left_out: list[str] = []

    @property
    def _checkpoint_config_keys(self) -> tuple[str, ...]:
        """Arguments that a checkpoint keeps."""
        return (*super()._checkpoint_config_keys, "threshold", "false_alarm_rate", "clip_scores", *_RULES)

    def load_checkpoint_config(self, config: dict[str, Any]) -> None:
        """Restore the arguments that a checkpoint holds; scores of one of version 0.2 stay clipped at 1."""
        super().load_checkpoint_config({"clip_scores": True, **config})

    @property
    def normalized_image_threshold(self) -> Tensor:
        """Threshold of the image scores that the model gives, which may not be normalized."""
        return super().normalized_image_threshold if self.enable_normalization else self.image_threshold

    @property
    def normalized_pixel_threshold(self) -> Tensor:
        """Threshold of the anomaly maps that the model gives, which may not be normalized."""
        return super().normalized_pixel_threshold if self.enable_normalization else self.pixel_threshold

    def on_validation_batch_end(  # type: ignore[override]  # as anomalib narrows it
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Batch,
        batch: Any = None,
        batch_idx: int = 0,
        dataloader_idx: int = 0,
    ) -> None:
        """Collect the finite scores of normal images, in addition to what anomalib collects; of each image once."""
        del batch
        own = without_repeats(trainer, cast("ImageBatch", outputs), batch_idx, dataloader_idx)
        if own is not None:
            self._collect(trainer, pl_module, own)

    def _collect(self, trainer: Trainer, pl_module: LightningModule, outputs: ImageBatch) -> None:
        if self.parts:
            for child, _, some in self.split(outputs):
                cast("DistillationPostProcessor", child)._collect(trainer, pl_module, some)  # noqa: SLF001
            return
        outputs = self._finite(outputs)
        if outputs.batch_size == 0:
            return
        levels = None
        if self.min_area and outputs.anomaly_map is not None:
            # The highest threshold at which the image is anomalous.
            levels = torch.tensor([self._level(outputs, index, pl_module) for index in range(outputs.batch_size)])
            levels = levels.to(outputs.anomaly_map)
            if outputs.pred_score is not None:
                levels = torch.minimum(levels, outputs.pred_score.flatten())
                outputs = replace(outputs, pred_score=levels.view_as(outputs.pred_score))
        inside = pixels_inside(outputs, region_of(pl_module))
        super().on_validation_batch_end(trainer, pl_module, inside)
        if not self.enable_thresholding or outputs.gt_label is None:
            return
        defect = outputs.gt_label.bool()
        self._defects.update(defect.float())
        if outputs.pred_score is not None:
            self._good_scores.update(outputs.pred_score.flatten()[~defect])
        if outputs.anomaly_map is not None:
            peaks = outputs.anomaly_map.flatten(1).amax(dim=1) if levels is None else levels
            self._good_peaks.update(peaks[~defect])

    def _finite(self, batch: ImageBatch) -> ImageBatch:
        """Return the images of a batch whose predictions are finite, and note the others."""
        predictions = [value for value in (batch.pred_score, batch.anomaly_map) if value is not None]
        finite = torch.ones(batch.batch_size, dtype=torch.bool, device=predictions[0].device if predictions else None)
        for value in predictions:
            finite &= torch.isfinite(value).flatten(1).all(dim=1) if value.ndim > 1 else torch.isfinite(value)
        self._validated += len(finite)
        if finite.all():
            return batch
        lost = (~finite).nonzero().flatten().tolist()
        self._left_out += [str(batch.image_path[index]) if batch.image_path else "unnamed" for index in lost]
        fields = ("image", "gt_label", "gt_mask", "pred_score", "anomaly_map")
        values = {name: getattr(batch, name) for name in fields}
        kept = {name: value[finite] for name, value in values.items() if value is not None}
        paths = (
            None if not batch.image_path else [batch.image_path[index] for index in finite.nonzero().flatten().tolist()]
        )
        return ImageBatch(**kept, image_path=paths)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set thresholds and range, or log why they cannot be set.

        Without finite scores they stay undefined, or those of the last validation.
        """
        if self.parts:
            for part in self.parts:
                self.of(part).on_validation_epoch_end(trainer, pl_module)
            return
        if self._left_out:
            logger.warning(
                "%s%d of %d validation images have scores that are not finite, and are left out of thresholds and "
                "range; the first is %s.",
                self._of_part,
                len(self._left_out),
                self._validated,
                printable(self._left_out[0]),
            )
        if self._left_out and len(self._left_out) == self._validated:
            logger.error("%sNo validation image has a finite score: thresholds and range are not set.", self._of_part)
        self._validated, self._left_out = 0, []
        self.expected_false_alarms = None
        if not self._from_good_images():
            super().on_validation_epoch_end(trainer, pl_module)
        else:
            # Then anomalib computes only the range: without defects its thresholds would warn and be overwritten.
            self.enable_thresholding = False
            super().on_validation_epoch_end(trainer, pl_module)
            self.enable_thresholding = True
            self._image_threshold_metric.reset()
            self._pixel_threshold_metric.reset()
            self._set_thresholds()
        for metric in (self._good_scores, self._good_peaks, self._defects):
            metric.reset()
        if self.enable_normalization and self.image_min == self.image_max:
            logger.warning(
                "%sAll validation scores are %g, so their range is undefined: normalized scores are 0 below the "
                "threshold, 0.5 at it and 1 above it.",
                self._of_part,
                float(self.image_min),
            )

    @property
    def _of_part(self) -> str:
        """What messages about one of several parts begin with."""
        return f"{self.part}: " if self.part else ""

    def _from_good_images(self) -> bool:
        """Whether thresholds come from normal images alone."""
        if not self.enable_thresholding or self.threshold == "f1" or not self._defects.update_called:
            return False
        defects = self._defects.compute()
        return bool((defects == 0).any()) and (self.threshold == "false_alarms" or not defects.any())

    def _set_thresholds(self) -> None:
        """Set thresholds and ranges from the normal images collected."""
        for name, metric in (("image", self._good_scores), ("pixel", self._good_peaks)):
            if not metric.update_called:
                continue
            # torchmetrics gives a single score without a dimension.
            scores = metric.compute().flatten()
            threshold, expected, interval = false_alarm_threshold(scores, self.false_alarm_rate)
            getattr(self, f"_{name}_threshold").copy_(threshold)
            lowest = getattr(self, f"{name}_min")
            highest = getattr(self, f"{name}_max")
            if self.clip_scores:
                # anomalib clips at half a range above the threshold.
                highest.copy_(torch.maximum(highest, lowest + _CLIPPED_RANGE * (threshold - lowest)))
            elif threshold > lowest:
                highest.copy_(lowest + _RANGE * (threshold - lowest))
            if name == "image":
                # All validations of a training give the same message, which is logged once.
                self.expected_false_alarms = (len(scores), expected, interval)
                if self._reported != self.expected_false_alarms:
                    self._report(len(scores), expected, interval)
                self._reported = self.expected_false_alarms

    def _report(self, count: int, expected: float, interval: tuple[float, float]) -> None:
        """Log the expected false-alarm rate."""
        if expected > self.false_alarm_rate * (1 + 1e-9):
            needed = math.ceil(1 / self.false_alarm_rate - 1e-9) - 1
            logger.warning(
                "%s%d normal validation images are too few for a false-alarm rate of %g, which needs %d: thresholds "
                "are the highest scores, and the expected rate is %.3g.",
                self._of_part,
                count,
                self.false_alarm_rate,
                needed,
                expected,
            )
            return
        message = (
            "%sThresholds set on %d normal validation images, for a false-alarm rate of %g: expected rate %.3g; of 100 "
            "new normal images, between %.0f and %.0f are called anomalous with a probability of 95 %%."
        )
        logger.info(
            message, self._of_part, count, self.false_alarm_rate, expected, *(_NEW_IMAGES * bound for bound in interval)
        )

    def _normalize(  # type: ignore[override]  # a static method of anomalib's
        self, preds: Tensor | None, norm_min: Tensor, norm_max: Tensor, threshold: Tensor
    ) -> Tensor | None:
        """Normalize linearly up to the threshold, which is 0.5, and bend higher values, so that 1 is never reached.

        anomalib clips at 1, and converts NaN to 0.5. NaN is kept here.
        """
        if preds is None:
            return None
        if self.clip_scores:
            normalized = PostProcessor._normalize(preds, norm_min, norm_max, threshold)  # noqa: SLF001
            return _where_finite(preds, cast("Tensor", normalized))
        threshold = torch.where(torch.isnan(threshold), (norm_max + norm_min) / 2, threshold)
        width = _width(norm_max - norm_min)
        return _where_finite(preds, torch.where(torch.isnan(width), preds, bend((preds - threshold) / width + 0.5)))

    def forward(self, predictions: InferenceBatch) -> InferenceBatch:
        """Normalize scores and maps, and set labels and masks, as anomalib does.

        Args:
            predictions: Scores of shape ``(N, 1)`` and maps of shape ``(N, 1, H, W)``, on the network's scale.

        Raises:
            ValueError: If there are several parts, each with its own post-processor; see :meth:`of`.
        """
        if self.parts:
            self.of()
        score, anomaly_map = predictions.pred_score, predictions.anomaly_map
        if not self._constants.numel() or score is None or anomaly_map is None:
            return super().forward(predictions)
        # Taken by a condition on the image, so that no converter computes anything with the constant in advance.
        finite = (score <= math.inf) & (score >= -math.inf)
        numbers = torch.where(finite, self._constants, math.nan)[:, Constants.first : Constants.first + 4]
        image_threshold, image_range, pixel_threshold, pixel_range = numbers.split(1, dim=1)
        score = _where_finite(score, bend((score - image_threshold) / image_range + 0.5))
        offset = anomaly_map - pixel_threshold[..., None, None]
        anomaly_map = _where_finite(anomaly_map, bend(offset / pixel_range[..., None, None] + 0.5))
        return InferenceBatch(
            pred_score=score,
            anomaly_map=anomaly_map,
            pred_label=self._apply_threshold(score, self.normalized_image_threshold),
            pred_mask=self._apply_threshold(anomaly_map, self.normalized_pixel_threshold),
        )

    def of(self, part: str | None = None) -> "DistillationPostProcessor":
        """Return the post-processor of a part; see :meth:`PostProcessorByPart.of`."""
        return cast("DistillationPostProcessor", super().of(part))

    @property
    def rules(self) -> RegionRules:
        """Which regions count."""
        return RegionRules(self.min_area, self.min_peak, self.pixel_size)

    def on_test_batch_end(  # type: ignore[override]  # as anomalib narrows it
        self, trainer: Trainer, pl_module: LightningModule, outputs: Batch, *args: Any, **kwargs: Any
    ) -> None:
        """Normalize scores and maps, and set labels and masks; regions that do not count make no image anomalous."""
        if self.parts:
            self.post_process_parts("on_test_batch_end", trainer, pl_module, outputs)
            return
        super().on_test_batch_end(trainer, pl_module, outputs, *args, **kwargs)
        self._apply_rules(cast("ImageBatch", outputs), pl_module)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Batch, *args: Any, **kwargs: Any
    ) -> None:
        """Do what :meth:`on_test_batch_end` does."""
        if self.parts:
            self.post_process_parts("on_predict_batch_end", trainer, pl_module, outputs)
            return
        super().on_predict_batch_end(trainer, pl_module, outputs, *args, **kwargs)
        self._apply_rules(cast("ImageBatch", outputs), pl_module)

    def _apply_rules(self, batch: ImageBatch, module: LightningModule) -> None:
        """Call images normal in which no region counts."""
        if not self.rules or batch.anomaly_map is None or batch.pred_mask is None or batch.pred_label is None:
            return
        labels = batch.pred_label.clone()
        for index in labels.flatten().nonzero().flatten().tolist():
            anomaly_map, mask, size = _whole(batch, index, module)
            if np.isfinite(anomaly_map).all():
                regions = find_regions(mask, anomaly_map, size, self.rules)
                labels.view(-1)[index] = any(not region.ignored for region in regions)
        batch.pred_label = labels

    def _level(self, batch: ImageBatch, index: int, module: LightningModule) -> float:
        """The highest threshold of an image's map at which a region counts, on the network's scale."""
        anomaly_map, _, size = _whole(batch, index, module)
        return counting_level(anomaly_map, size, self.rules, normalized=False)

    def scale(self) -> Constants | None:
        """Return the thresholds and ranges that scores are normalized by; ``None`` if they are not, or are cut off."""
        if not self.enable_normalization or not self.enable_thresholding or self.clip_scores:
            return None
        numbers = []
        for name in ("image", "pixel"):
            low, high = getattr(self, f"{name}_min"), getattr(self, f"{name}_max")
            threshold = getattr(self, f"{name}_threshold")
            threshold = torch.where(torch.isnan(threshold), (high + low) / 2, threshold)
            numbers += [float(threshold), float(_width(high - low))]
        return Constants(*numbers) if all(map(math.isfinite, numbers)) else None

    def set_scale(self, scale: Constants) -> None:
        """Set thresholds and ranges; the lowest scores of the validation do not change.

        Args:
            scale: The thresholds and ranges, on the network's scale.
        """
        for name in ("image", "pixel"):
            getattr(self, f"_{name}_threshold").fill_(getattr(scale, f"{name}_threshold"))
            lowest = getattr(self, f"{name}_min")
            getattr(self, f"{name}_max").copy_(lowest + getattr(scale, f"{name}_range"))

    @contextmanager
    def as_constants(self) -> Iterator[None]:
        """Within this block, :meth:`forward` takes thresholds and ranges from one constant, which an export keeps."""
        scale = self.scale()
        if scale is not None:
            self._constants = torch.from_numpy(scale.packed()).to(self.image_min.device)
        try:
            yield
        finally:
            self._constants = torch.empty(0)

    @staticmethod
    def _apply_threshold(preds: Tensor | None, threshold: Tensor) -> Tensor | None:
        """Label as anomalous every value that is not at most the threshold, also NaN."""
        if preds is None:
            return None
        if not torch.compiler.is_compiling() and torch.isnan(threshold).item():
            return preds
        return ~(preds <= threshold)


def _whole(batch: ImageBatch, index: int, module: LightningModule) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Map and mask of a whole image, and the height and width of its file; those of the map without a file."""
    planes = [batch.anomaly_map, batch.anomaly_map if batch.pred_mask is None else batch.pred_mask]
    anomaly_map, mask = (cast("Tensor", plane)[index].squeeze().detach().cpu().numpy() for plane in planes)
    size = (anomaly_map.shape[0], anomaly_map.shape[1])
    if batch.image_path:
        with local_copy(batch.image_path[index]) as file, Image.open(file) as image:
            size = (image.height, image.width)
    steps = crop_steps(getattr(getattr(module, "pre_processor", None), "transform", None))
    whole = on_whole_image(anomaly_map, size, steps), on_whole_image(mask, size, steps)
    # Where the geometry is not known, areas are as if nothing was cropped.
    return anomaly_map if whole[0] is None else whole[0], mask if whole[1] is None else whole[1], size


def _width(difference: Tensor) -> Tensor:
    """A range that can be divided by: without one, scores are 0 below the threshold and 1 above it."""
    return torch.where(difference == 0, _NO_RANGE, difference)


def _where_finite(values: Tensor, normalized: Tensor) -> Tensor:
    """Normalized values where the values are finite, and NaN elsewhere."""
    # Only comparisons, since runtimes may lose NaN in any other operation.
    return torch.where((values <= math.inf) & (values >= -math.inf), normalized, math.nan)
