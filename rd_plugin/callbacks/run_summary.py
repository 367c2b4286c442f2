# SPDX-License-Identifier: Apache-2.0
"""What a run has come to, in a few lines, and what to type next."""

import logging
import math
import os
import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import torch
from anomalib.data import AnomalibDataset, ImageBatch
from anomalib.data.utils import read_image
from anomalib.models.components import AnomalibModule
from anomalib.visualization import ImageVisualizer
from lightning.pytorch import Callback, LightningModule, Trainer

from .report_writer import ReportWriter

__all__ = ["RunSummary"]

logger = logging.getLogger(__name__)

# The first is slower than the others.
_TIMED = 6


class RunSummary(Callback):
    """Log where the results lie, how good the verdicts are, how long one takes, and the next commands.

    After a training the checkpoint is named; the rest follows the test, which ``anomalib train`` runs right after it.
    """

    def __init__(self) -> None:
        self._verdicts: dict[bool, list[int]] = {}

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where the checkpoint is."""
        del pl_module
        path = _checkpoint(trainer)
        if trainer.is_global_zero and path:
            logger.info("Trained. The checkpoint is %s", _shown(path))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count anew."""
        del trainer, pl_module
        self._verdicts = {False: [], True: []}

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Count what a batch's images were called; the post-processor has been at work."""
        del trainer, pl_module, args, kwargs
        batch = cast("ImageBatch", outputs)
        if batch.pred_label is None or batch.gt_label is None:
            return
        for truth, verdict in zip(batch.gt_label.flatten().tolist(), batch.pred_label.flatten().tolist(), strict=True):
            self._verdicts[bool(truth)].append(int(verdict))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the summary."""
        if not trainer.is_global_zero:
            return
        model = cast("AnomalibModule", pl_module)
        entries = [
            *self._verdict_lines(model),
            *_speed(trainer, model),
            *_places(trainer, model),
        ]
        width = max(len(name) for name, _ in entries)
        lines = "\n".join(f"  {name:<{width}}  {text}" for name, text in entries)
        logger.info("%s was tested on %d images.\n%s", model.name, sum(map(len, self._verdicts.values())), lines)

    def _verdict_lines(self, model: AnomalibModule) -> list[tuple[str, str]]:
        """False alarms and defects found, as counted, and as to be expected."""
        good, defects = self._verdicts[False], self._verdicts[True]
        lines = []
        if good:
            lines.append(("false alarms", f"{sum(good)} of {len(good)} good images"))
        # Where thresholds come from good images, the package's post-processor knows what that means for others.
        expected = getattr(model.post_processor, "expected_false_alarms", None)
        if expected is not None:
            count, rate, (low, high) = expected
            text = f"of 100 new good images {100 * low:.0f} to {100 * high:.0f}, {100 * rate:.2g} on average"
            lines.append(("false alarms to expect", f"{text} ({count} good images set the threshold)"))
        if defects:
            lines.append(("defects found", f"{sum(defects)} of {len(defects)}"))
        threshold = float(getattr(model.post_processor, "image_threshold", math.nan))
        if not math.isnan(threshold):
            normalized = getattr(model.post_processor, "enable_normalization", False)
            lines.append(
                ("threshold", f"{threshold:.4g}{', which is 0.5 among normalized scores' if normalized else ''}")
            )
        return lines


def _speed(trainer: Trainer, model: AnomalibModule) -> list[tuple[str, str]]:
    """How long one image takes, from its file to its score."""
    dataset = getattr(getattr(trainer, "datamodule", None), "test_data", None)
    if not isinstance(dataset, AnomalibDataset) or len(dataset) == 0:
        return []
    files: Sequence[str] = list(dataset.samples["image_path"])[:_TIMED]
    seconds = []
    for file in files:
        start = perf_counter()
        image = cast("torch.Tensor", read_image(file, as_tensor=True))
        with torch.inference_mode():
            score = model(image[None].to(model.device)).pred_score
        score.cpu()  # waits for a GPU
        seconds.append(perf_counter() - start)
    return [
        ("speed", f"{statistics.median(seconds[1:] or seconds):.3f} seconds an image, one at a time, on {model.device}")
    ]


def _places(trainer: Trainer, model: AnomalibModule) -> list[tuple[str, str]]:
    """Where the results lie, and what to do with them."""
    lines = []
    written = [callback.written for callback in trainer.callbacks if isinstance(callback, ReportWriter)]  # type: ignore[attr-defined]
    lines += [("report", _shown(path)) for path in written if path is not None]
    if isinstance(model.visualizer, ImageVisualizer):
        folder = model.visualizer.output_dir or Path(trainer.default_root_dir) / "images"
        lines.append(("pictures", _shown(folder)))
    checkpoint = _checkpoint(trainer)
    if checkpoint:
        shown = _shown(checkpoint)
        # A checkpoint of the package's models says which of them it is of.
        kind = type(model)
        named = [] if kind.__module__.startswith("rd_plugin.") else ["--model", kind.__qualname__]
        export = ["rd-plugin", "export", *named, "--export_type", "openvino", "--ckpt_path", shown]
        lines.append(("checkpoint", shown))
        lines.append(("judge others", shlex.join(["rd-plugin", "inspect", shown]) + " FOLDER"))
        lines.append(("export", shlex.join(export)))
    return lines


def _checkpoint(trainer: Trainer) -> str:
    """The checkpoint that is tested, or that a training leaves; empty if there is none."""
    return str(trainer.ckpt_path or getattr(trainer.checkpoint_callback, "best_model_path", "") or "")


def _shown(path: str | Path) -> str:
    """A path as seen from the current folder, if it is within."""
    relative = os.path.relpath(path) if "://" not in str(path) else ""
    return str(path) if not relative or relative.startswith("..") else relative
