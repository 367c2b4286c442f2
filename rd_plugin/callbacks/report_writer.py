# SPDX-License-Identifier: Apache-2.0
"""A report after each test."""

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed
from anomalib.data import ImageBatch
from anomalib.post_processing import PostProcessor
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image

from rd_plugin.data.crop import crop_steps, on_whole_image
from rd_plugin.provenance import RecordedModule
from rd_plugin.report import JudgedImage, Judgement, PictureStore, write_report
from rd_plugin.report.pictures import Picture

from .data_check import DataCheck

__all__ = ["ReportWriter"]

logger = logging.getLogger(__name__)

_NAME = "report.html"


class ReportWriter(Callback):
    """Write ``report.html`` into the run's folder after a test, which ends a training by ``anomalib train``, too.

    Must stand behind the post-processor among the callbacks, and before what refers to the report. With several
    processes, the first one reports what all have judged.

    Args:
        path: The file, by default ``report.html`` in the run's folder.

    Attributes:
        written: The report of the last test; ``None`` if there is none.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.written: Path | None = None
        self._images: dict[str, JudgedImage] = {}
        self._pictures = PictureStore()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        del pl_module
        self.written = None
        dataset = getattr(getattr(trainer, "datamodule", None), "test_data", None)
        self._images, self._pictures = {}, PictureStore(len(dataset) if dataset is not None else None)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Keep what was said of a batch's images; the post-processor has been at work."""
        del trainer, args, kwargs
        batch = cast("ImageBatch", outputs)
        if batch.pred_score is None:
            return
        # Without a threshold anomalib hands scores on as labels.
        labels = None if _threshold(pl_module, "image") is None else batch.pred_label
        threshold = _threshold(pl_module, "pixel") or 0.5
        maps, steps = batch.anomaly_map, crop_steps(getattr(pl_module.pre_processor, "transform", None))
        paths = batch.image_path or [f"image {len(self._images) + index}" for index in range(batch.batch_size)]
        for index, path in enumerate(paths):
            score = float(batch.pred_score.flatten()[index])
            self._images[str(path)] = JudgedImage(
                path=str(path),
                score=score if math.isfinite(score) else None,
                anomalous=None if labels is None else bool(labels.flatten()[index]),
                defective=None if batch.gt_label is None else bool(batch.gt_label.flatten()[index]),
                picture=self._picture(path, None if maps is None else maps[index], steps, threshold),
            )

    def _picture(
        self, path: str | Path, anomaly_map: torch.Tensor | None, steps: list[list[Any]], threshold: float
    ) -> Picture | None:
        """An image made small; ``None`` if it did not come from a file."""
        try:
            with Image.open(path) as image:
                values = None if anomaly_map is None else anomaly_map.squeeze().float().cpu().numpy()
                if values is not None:
                    values = on_whole_image(values, (image.height, image.width), steps)
                return self._pictures.put(*self._pictures.shrink(image, values, threshold))
        except OSError:
            return None

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the report; one that cannot be written costs a warning, not the test's results."""
        if trainer.world_size > 1:
            self._gather(trainer)
        if not trainer.is_global_zero or not self._images:
            return
        check = [callback for callback in trainer.callbacks if isinstance(callback, DataCheck)]  # type: ignore[attr-defined]
        judgement = Judgement(
            title=f"{type(pl_module).__name__} on {_data_name(trainer)}",
            images=self._shown(),
            threshold=_threshold(pl_module, "image"),
            findings=check[0].findings if check else None,
            record=pl_module.describe().plain() if isinstance(pl_module, RecordedModule) else None,
            metrics={name: float(value) for name, value in trainer.callback_metrics.items() if "loss" not in name},
        )
        path = self.path or Path(trainer.default_root_dir) / _NAME
        try:
            write_report(path, judgement)
        except OSError as error:
            logger.warning("The report %s could not be written (%s).", path, error.strerror)
        else:
            self.written = path
        self._images, self._pictures = {}, PictureStore()

    def _gather(self, trainer: Trainer) -> None:
        """Give the first process what all have judged, each image once."""
        own = [
            (replace(image, picture=None), image.picture and image.picture.read()) for image in self._images.values()
        ]
        parts: list[Any] | None = [None] * trainer.world_size if trainer.is_global_zero else None
        torch.distributed.gather_object(own, parts)
        for image, picture in (entry for part in parts or () for entry in part):
            if image.path not in self._images:
                self._images[image.path] = replace(image, picture=picture and self._pictures.put(*picture))

    def _shown(self) -> Sequence[JudgedImage]:
        """The images, by paths from the folder that they all lie in."""
        folder = os.path.commonpath([Path(path).absolute().parent for path in self._images])
        return [
            replace(image, path=os.path.relpath(image.path, folder) if image.picture else image.path)
            for image in self._images.values()
        ]


def _data_name(trainer: Trainer) -> str:
    """What the images are called."""
    datamodule = getattr(trainer, "datamodule", None)
    parts = (getattr(datamodule, "name", None), getattr(datamodule, "category", None))
    return " ".join(dict.fromkeys(str(part) for part in parts if part)) or "images"


def _threshold(module: LightningModule, level: str) -> float | None:
    """The threshold of scores or maps as they are after the post-processor."""
    post_processor = getattr(module, "post_processor", None)
    if not isinstance(post_processor, PostProcessor) or not post_processor.enable_thresholding:
        return None
    if math.isnan(float(getattr(post_processor, f"{level}_threshold"))):
        return None
    return float(getattr(post_processor, f"normalized_{level}_threshold"))
