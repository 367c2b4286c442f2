# SPDX-License-Identifier: Apache-2.0
"""The results of a run in a few lines, and what to type next."""

import logging
import math
import os
import shlex
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import torch
import torch.distributed
from anomalib.data import AnomalibDataset, ImageBatch
from anomalib.data.utils import read_image
from anomalib.models.components import AnomalibModule
from anomalib.visualization import ImageVisualizer
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from rd_plugin.by_part import parts_in_use
from rd_plugin.data.part_names import group_by_part, part_of
from rd_plugin.results.operating_points import OperatingPoint, Share, operating_points
from rd_plugin.storage import local_copy

from .courtesy import courtesy, spared
from .report_writer import ReportWriter

__all__ = ["RunSummary"]

logger = logging.getLogger(__name__)

# The first is slower than the others.
_TIMED = 6
_TABLE = "  {:<22}  {:<24}  {}"
_ALL = "all parts"


class RunSummary(Callback):
    """Print how good the verdicts are, how long one takes, where the results are, and the next commands.

    After a training the checkpoint is named; the rest follows the test, which ``anomalib train`` runs right after it.
    Each of several parts has a row, with its own threshold and the false alarms to expect. Metrics are those of each
    part, and their means.

    It is printed instead of Lightning's table of metrics, as the last lines of a run.

    Attributes:
        points: False alarms and defects found by the last test of one part, at its threshold, if there is one, and then
            at false-alarm rates.
    """

    def __init__(self) -> None:
        self.failed = False
        self.points: list[OperatingPoint] = []
        # Truth and score of each image, by its file.
        self._images: dict[str, tuple[bool, float, bool | None]] = {}
        self._summary = ""
        self._wanted = True

    @spared("The summary")
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where the checkpoint is."""
        del pl_module
        # Not the one that the training may have been taken up from.
        path = str(getattr(trainer.checkpoint_callback, "best_model_path", "") or "")
        if trainer.is_global_zero and path:
            logger.info("Trained. The checkpoint is %s", _shown(path))

    @spared("The summary")
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the thresholds that ``validate`` has set, which no checkpoint keeps."""
        if trainer.state.fn != TrainerFn.VALIDATING or not trainer.validate_loop.verbose or not trainer.is_global_zero:
            return
        model = cast("AnomalibModule", pl_module)
        kept = ("kept", "not in the checkpoint; rd-plugin threshold writes a model with another threshold")
        post_processor: Any = model.post_processor
        parts = getattr(post_processor, "parts", ())
        entries = [(part, text) for part in parts for _, text in _threshold(post_processor.of(part))]
        lines = [f"  {name:<9}  {text}" for name, text in [*(entries or _threshold(post_processor)), kept]]
        self._summary = "\n".join([f"{model.name}: thresholds of the validation images.", "", *lines])

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with no scores."""
        del pl_module
        self.failed, self.points, self._images, self._summary = False, [], {}, ""
        # A caller that wants no table wants no summary.
        self._wanted, trainer.test_loop.verbose = trainer.test_loop.verbose, False

    @spared("The summary")
    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Keep a batch's scores, as they are after the post-processor, and its labels."""
        del pl_module, args, kwargs
        batch = cast("ImageBatch", outputs)
        if batch.pred_score is None or batch.gt_label is None:
            return
        truth, scores = batch.gt_label.flatten().bool().tolist(), batch.pred_score.flatten().tolist()
        # Rules about regions may call an image normal whose score exceeds the threshold.
        labels = [None] * len(scores) if batch.pred_label is None else batch.pred_label.flatten().bool().tolist()
        # Processes may be given the same file, to have as many each.
        unnamed = [f"{trainer.global_rank} {len(self._images) + index}" for index in range(batch.batch_size)]
        found = zip(truth, scores, labels, strict=True)
        self._images |= dict(zip(map(str, batch.image_path or unnamed), found, strict=True))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the summary of the images of all processes."""
        if trainer.world_size > 1:
            parts: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(parts, self._images)
            self._images = {file: found for part in parts for file, found in part.items()}
        if trainer.is_global_zero and self._wanted:
            self._write(trainer, pl_module)

    @spared("The summary")
    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        model = cast("AnomalibModule", pl_module)
        # What is left if the rest fails.
        self._summary = "\n".join(f"{name} {text}" for name, text in _metrics(trainer))
        parts = parts_in_use(trainer, pl_module)
        entries = [*_metrics(trainer), *([] if parts else _threshold(model.post_processor))]
        with courtesy("The summary's speed"):
            entries += _speed(trainer, model)
        entries += _places(trainer, model)
        width = max((len(name) for name, _ in entries), default=0)
        count = len(self._images)
        normal = sum(not defective for defective, *_ in self._images.values())
        lines = [
            f"{model.name}: {count} test images, {normal} normal and {count - normal} defects.",
            "",
            *(self._of_parts(model, parts) if parts else self._operating_points(model)),
            *([""] if parts and _metrics_by_part(trainer) else []),
            *(_metrics_by_part(trainer) if parts else []),
            "",
            *(f"  {name:<{width}}  {text}" for name, text in entries),
        ]
        self._summary = "\n".join(lines)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Print the summary, whole and when the progress bar is gone."""
        del trainer, pl_module
        if stage in {"validate", "test"} and self._summary:
            # The output may be closed, or its encoding may lack a character of a path.
            with courtesy("The summary"):
                sys.stdout.write(f"\n{self._summary}\n")
                sys.stdout.flush()
            self._summary = ""

    def _operating_points(self, model: AnomalibModule) -> list[str]:
        """False alarms and defects found, at the threshold and at false-alarm rates."""
        post_processor: Any = model.post_processor
        known = not math.isnan(float(getattr(post_processor, "image_threshold", math.nan)))
        own = float(post_processor.normalized_image_threshold) if known else None
        defective, scores, labels = [list(values) for values in zip(*self._images.values(), strict=True)] or ([],) * 3
        self.points = operating_points(scores, defective, own, anomalous=None if None in labels else labels)
        rows = [(_name(point), _rate(point.false_alarms), _rate(point.defects_found)) for point in self.points]
        return [_TABLE.format("threshold", "false alarms", "defects found"), *(_TABLE.format(*row) for row in rows)]

    def _of_parts(self, model: AnomalibModule, parts: Sequence[str]) -> list[str]:
        """False alarms and defects found at the threshold of each part, and of all images at those of their parts."""
        files = list(self._images)
        rows, decided = [("part", "threshold", "of 100 new normal images", "false alarms", "defects found")], []
        for part, indices in group_by_part(files, parts).items():
            own: Any = model.post_processor
            own = own.of(part) if getattr(own, "parts", ()) else own
            threshold = float(getattr(own, "image_threshold", math.nan))
            found = [self._images[files[index]] for index in indices]
            level = float(own.normalized_image_threshold)
            decided += [(truth, score > level if label is None else label) for truth, score, label in found]
            expected = getattr(own, "expected_false_alarms", None)
            interval = "-" if expected is None else "{:.0f} to {:.0f}".format(*(100 * bound for bound in expected[2]))
            rows.append((part, f"{threshold:.4g}", interval, *_shares(decided[-len(found) :], threshold)))
        rows.append((_ALL, "", "", *_shares(decided, 0.0)))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
        return [f"  {line}".rstrip() for line in lines]


def _shares(decided: Sequence[tuple[bool, bool]], threshold: float) -> tuple[str, str]:
    """False alarms and defects found among images, given as truth and label."""
    if not decided or math.isnan(threshold):
        return "-", "-"
    defective, anomalous = zip(*decided, strict=True)
    point = operating_points([float(label) for label in anomalous], defective, 0.5, (), anomalous)[0]
    return _rate(point.false_alarms), _rate(point.defects_found)


def _name(point: OperatingPoint) -> str:
    """What an operating point is called."""
    return "the model's" if point.rate is None else f"for {100 * point.rate:g} % false alarms"


def _rate(share: Share | None) -> str:
    """A rate with its 95 % interval."""
    return "-" if share is None else share.percent


def _metrics(trainer: Trainer) -> list[tuple[str, str]]:
    """The metrics of the test; of several parts, their means."""
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if "loss" not in name}
    counts = Counter(name.partition("/")[0] for name in metrics if "/" in name)
    means = {name: f", mean of {counts[name]} parts" if name in counts else "" for name in metrics if "/" not in name}
    return [(name, f"{metrics[name]:.4f}{mean}") for name, mean in means.items()]


def _metrics_by_part(trainer: Trainer) -> list[str]:
    """A table of the metrics of each part."""
    found = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
    metrics, parts = (list(dict.fromkeys(name.split("/", 1)[place] for name in found)) for place in (0, 1))
    width = max(map(len, ["part", *parts]))
    cells = [[f"{found[key]:.4f}" if (key := f"{name}/{part}") in found else "-" for name in metrics] for part in parts]
    rows = [("part", metrics), *zip(parts, cells, strict=True)]
    return [f"  {part:<{width}}  {'  '.join(f'{cell:<14}' for cell in row)}".rstrip() for part, row in rows if found]


def _threshold(post_processor: Any) -> list[tuple[str, str]]:
    """The threshold, and the false alarms to expect of it."""
    lines = []
    # Where thresholds come from normal images, the package's post-processor knows what that means for others.
    expected = getattr(post_processor, "expected_false_alarms", None)
    if expected is not None:
        count, rate, (low, high) = expected
        text = f"{100 * low:.0f} to {100 * high:.0f} false alarms in 100 new normal images, {100 * rate:.2g} on average"
        lines.append(("expected", f"{text} (threshold set on {count})"))
    threshold = float(getattr(post_processor, "image_threshold", math.nan))
    if math.isnan(threshold):
        lines.append(("threshold", "none: the model was never validated, or has no post-processor that sets one"))
    else:
        normalized = getattr(post_processor, "enable_normalization", False)
        lines.append(("threshold", f"{threshold:.4g}{', which is 0.5 among normalized scores' if normalized else ''}"))
    return lines


def _speed(trainer: Trainer, model: AnomalibModule) -> list[tuple[str, str]]:
    """How long one image takes, from its file to its score."""
    dataset = getattr(getattr(trainer, "datamodule", None), "test_data", None)
    if not isinstance(dataset, AnomalibDataset) or len(dataset) == 0:
        return []
    files: Sequence[str] = list(dataset.samples["image_path"])[:_TIMED]
    parts = getattr(model.post_processor, "parts", ())
    seconds = []
    for file in files:
        chosen = {"part": part_of(file, parts)} if parts else {}
        start = perf_counter()
        with local_copy(file) as copy:
            image = cast("torch.Tensor", read_image(copy, as_tensor=True))
        with torch.inference_mode():
            score = model(image[None].to(model.device), **chosen).pred_score
        score.cpu()  # waits for a GPU
        seconds.append(perf_counter() - start)
    return [
        ("speed", f"{statistics.median(seconds[1:] or seconds):.3f} seconds an image, one at a time, on {model.device}")
    ]


def _places(trainer: Trainer, model: AnomalibModule) -> list[tuple[str, str]]:
    """Where the results are, and what to do with them."""
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
        lines.append(("inspect", shlex.join(["rd-plugin", "inspect", shown]) + " FOLDER"))
        lines.append(("export", shlex.join(export)))
    return lines


def _checkpoint(trainer: Trainer) -> str:
    """The checkpoint that is tested, or that a training leaves; empty if there is none."""
    return str(trainer.ckpt_path or getattr(trainer.checkpoint_callback, "best_model_path", "") or "")


def _shown(path: str | Path) -> str:
    """A path as seen from the current folder, if it is within."""
    relative = os.path.relpath(path) if "://" not in str(path) else ""
    return str(path) if not relative or relative.startswith("..") else relative
