# SPDX-License-Identifier: Apache-2.0
"""A report after each test."""

import logging
import math
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed
from anomalib.data import ImageBatch
from anomalib.post_processing import PostProcessor
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image

from rd_plugin.by_part import PostProcessorByPart, parts_in_use
from rd_plugin.components import RegionMask
from rd_plugin.data.crop import on_whole_image
from rd_plugin.data.crop_steps import crop_steps
from rd_plugin.data.part_names import part_of
from rd_plugin.data.region_pixels import region_of
from rd_plugin.provenance import RecordedModule
from rd_plugin.report import ReportContent, Thumbnail, make_thumbnail, write_report
from rd_plugin.results import AS_A_WHOLE, InspectionResult
from rd_plugin.storage import local_copy

from .courtesy import spared
from .data_check import DataCheck

__all__ = ["ReportWriter"]

logger = logging.getLogger(__name__)

_NAME = "report.html"


class ReportWriter(Callback):
    """Write ``report.html`` into the run's folder after a test, which ends a training by ``anomalib train``, too.

    It must come after the post-processor among the callbacks, and before what refers to the report. With several
    processes, the first one reports the results of all.

    Args:
        path: The file, by default ``report.html`` in the run's folder.

    Attributes:
        written: The report of the last test; ``None`` if there is none.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.written: Path | None = None
        self.failed = False
        self._results: dict[str, InspectionResult] = {}
        self._thumbnails: dict[str, Thumbnail] = {}
        self._expected: int | None = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an earlier test."""
        del pl_module
        self.written, self.failed = None, False
        dataset = getattr(getattr(trainer, "datamodule", None), "test_data", None)
        self._results, self._thumbnails = {}, {}
        self._expected = None if dataset is None else len(dataset)

    @spared("The report")
    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Keep the results of a batch, with the labels of the post-processor."""
        del args, kwargs
        batch = cast("ImageBatch", outputs)
        if batch.pred_score is None:
            return
        # Without a threshold anomalib hands scores on as labels.
        parts = parts_in_use(trainer, pl_module)
        maps, steps = batch.anomaly_map, crop_steps(getattr(pl_module.pre_processor, "transform", None))
        paths = batch.image_path or [f"image {len(self._results) + index}" for index in range(batch.batch_size)]
        for index, path in enumerate(map(str, paths)):
            part = (part_of(path, parts) if parts else None) or ""
            threshold, pixel_threshold = (_threshold(pl_module, level, part) for level in ("image", "pixel"))
            labels = None if threshold is None else batch.pred_label
            score = float(batch.pred_score.flatten()[index])
            self._results[path] = InspectionResult(
                path,
                "" if labels is None else "anomalous" if labels.flatten()[index] else "normal",
                score if math.isfinite(score) else None,
                threshold,
                product=part,
                defective=None if batch.gt_label is None else bool(batch.gt_label.flatten()[index]),
            )
            masks = batch.pred_mask
            if self._results[path].verdict == "anomalous" and masks is not None and not masks[index].any():
                self._results[path] = replace(self._results[path], reason=AS_A_WHOLE)
            anomaly_map = None if maps is None else maps[index]
            self._illustrate(path, anomaly_map, steps, pixel_threshold, region_of(pl_module))

    def _illustrate(
        self,
        path: str,
        anomaly_map: torch.Tensor | None,
        steps: list[list[Any]],
        threshold: float | None,
        mask: RegionMask | None,
    ) -> None:
        """Keep a thumbnail of an image, unless it did not come from a file."""
        with suppress(OSError), local_copy(path) as file, Image.open(file) as image:
            values = None if anomaly_map is None else anomaly_map.squeeze().float().cpu().numpy()
            if values is not None:
                values = on_whole_image(values, (image.height, image.width), steps)
            threshold = 0.5 if threshold is None else threshold
            region = None if mask is None else mask.region
            self._thumbnails[path] = make_thumbnail(image, values, threshold, self._expected, region)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the report; if it cannot be written, a warning is logged, and the test's results are kept."""
        if trainer.world_size > 1:
            self._gather(trainer)
        if trainer.is_global_zero and self._results:
            self._write(trainer, pl_module)
        self._results, self._thumbnails = {}, {}

    @spared("The report")
    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check = [callback for callback in trainer.callbacks if isinstance(callback, DataCheck)]  # type: ignore[attr-defined]
        names = self._names()
        content = ReportContent(
            title=f"{type(pl_module).__name__} on {_data_name(trainer)}",
            results=[replace(result, path=names[path]) for path, result in self._results.items()],
            thumbnails={names[path]: thumbnail for path, thumbnail in self._thumbnails.items()},
            threshold=_common(result.threshold for result in self._results.values()),
            findings=check[0].findings if check else None,
            record=pl_module.describe().plain() if isinstance(pl_module, RecordedModule) else None,
            metrics={name: float(value) for name, value in trainer.callback_metrics.items() if "loss" not in name},
        )
        path = self.path or Path(trainer.default_root_dir) / _NAME
        try:
            write_report(path, content)
        except OSError as error:
            logger.warning("The report %s could not be written (%s).", path, error.strerror)
        else:
            self.written = path

    def _gather(self, trainer: Trainer) -> None:
        """Give the first process the results of all, each image once."""
        parts: list[Any] | None = [None] * trainer.world_size if trainer.is_global_zero else None
        torch.distributed.gather_object((self._results, self._thumbnails), parts)
        for results, thumbnails in parts or ():
            self._results, self._thumbnails = {**results, **self._results}, {**thumbnails, **self._thumbnails}

    def _names(self) -> dict[str, str]:
        """Paths of the images from their common folder; names of those that are not files."""
        folder = os.path.commonpath([str(Path(path).absolute().parent) for path in self._thumbnails] or [os.sep])
        return {path: os.path.relpath(path, folder) if path in self._thumbnails else path for path in self._results}


def _data_name(trainer: Trainer) -> str:
    """What the images are called."""
    datamodule = getattr(trainer, "datamodule", None)
    parts = (getattr(datamodule, "name", None), getattr(datamodule, "category", None))
    return " ".join(dict.fromkeys(str(part) for part in parts if part)) or "images"


def _common(thresholds: Iterable[float | None]) -> float | None:
    """The threshold that all images have; ``None`` if there is no such one."""
    found = set(thresholds)
    return found.pop() if len(found) == 1 else None


def _threshold(module: LightningModule, level: str, part: str = "") -> float | None:
    """The threshold of scores or maps, of a part or of all, as they are after the post-processor."""
    post_processor: Any = getattr(module, "post_processor", None)
    if part and isinstance(post_processor, PostProcessorByPart) and post_processor.parts:
        post_processor = post_processor.of(part)
    if not isinstance(post_processor, PostProcessor) or not post_processor.enable_thresholding:
        return None
    if math.isnan(float(getattr(post_processor, f"{level}_threshold"))):
        return None
    return float(getattr(post_processor, f"normalized_{level}_threshold"))
