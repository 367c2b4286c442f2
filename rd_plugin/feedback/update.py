# SPDX-License-Identifier: Apache-2.0
"""Take images that are good into what a fused model knows as normal, and measure what that changes."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from rd_plugin.data.check import MAX_PIXELS, check_image, read_file
from rd_plugin.drift import Reference, image_statistics
from rd_plugin.drift.reference import sample
from rd_plugin.inspection import Inspector
from rd_plugin.models.distillation import Distillation
from rd_plugin.models.fused_reverse_distillation import FusedReverseDistillation
from rd_plugin.models.recorded import read_recorded
from rd_plugin.provenance import RECORD_KEY, now, read_sums, record_file, split_sums, sums_file, write_sums
from rd_plugin.results import Share
from rd_plugin.storage import read_plain
from rd_plugin.thresholds import choose, measure, write_threshold
from rd_plugin.thresholds.choice import Measured

from .statistics import add_images

__all__ = ["Update", "update_model"]

# One of this many new images is held out of the update, chosen by its content, so that it always is.
_HOLD_OUT = 3


@dataclass(frozen=True)
class Update:
    """What an update changed: shares of images called anomalous by the model before and after.

    Args:
        learned: Number of new images that are now part of what is normal.
        good: False alarms on new good images that were held out of the update; they are among those that set the
            threshold.
        old: False alarms on good images held out of the training; ``None`` if none were given.
        defects: Defects found; ``None`` if none were given.
    """

    learned: int
    good: tuple[Share, Share]
    old: tuple[Share, Share] | None
    defects: tuple[Share, Share] | None


def update_model(
    model: str | Path,
    output: str | Path,
    good: Sequence[Path],
    *,
    old: Sequence[Path] = (),
    defects: Sequence[Path] = (),
    rate: float | None = None,
    tolerate: float = 0.02,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
    threads: int | None = None,
) -> Update:
    """Write a checkpoint that takes new good images as normal, with weights and threshold that follow.

    Two of three new images are learned from: means and covariances become those of all images, without a training
    step. The threshold is then set on the others and on good images held out of the training; without ``old`` on the
    scores that the record keeps of them, which the old model gave and the new one rarely exceeds.

    Args:
        model: Checkpoint of a :class:`~rd_plugin.models.FusedReverseDistillation` of version 0.3 or later.
        output: The checkpoint to write.
        good: New good images, at least six. Those that are among ``defects`` are refused.
        old: Good images held out of the training.
        defects: Images of defects, which are only counted.
        rate: False-alarm rate of the threshold; by default as in the training.
        tolerate: Share of the defects that may be found by the old model and missed by the new one, in [0, 1].
        overwrite: Whether ``output`` may exist, or be the model itself.
        max_pixels: Greatest number of pixels in an image.
        threads: Number of threads; all cores by default.

    Returns:
        Shares before and after.

    Raises:
        FileExistsError: If ``output`` exists and may not be overwritten.
        OSError: If a file cannot be read or written; nothing is left, and an earlier file stays.
        ValueError: If the model or an image cannot be used, there are too few images, or more defects than tolerated
            are lost.
    """
    model, output = Path(model), Path(output)
    if output.exists() and not overwrite:
        msg = f"output {str(output)!r} exists already: give another name, or overwrite."
        raise FileExistsError(msg)
    if not 0 <= tolerate <= 1:
        msg = f"tolerate must be a share between 0 and 1, got {tolerate}."
        raise ValueError(msg)
    content, sums = _read(model)
    learned, held_out = _sides(good, defects)
    before = _shares(Inspector(model, max_pixels=max_pixels, threads=threads), held_out, old, defects)
    pixels = [_pixels(path, max_pixels) for path in learned]
    with TemporaryDirectory(prefix=".update.", suffix=".partial", dir=output.parent) as folder:
        changed, final = Path(folder, "changed.ckpt"), Path(folder, output.name)
        content, sums = _changed(model, content, sums, pixels, len(held_out))
        torch.save(content, changed)
        write_sums(changed, content, sums)
        inspector = Inspector(changed, max_pixels=max_pixels, threads=threads, unclipped=True)
        image, pixel = _thresholds(inspector, held_out, old, rate, content)
        write_threshold(changed, final, image, pixel, {"rate": rate or _rate(content), "update": len(learned)})
        after = _shares(Inspector(final, max_pixels=max_pixels, threads=threads), held_out, old, defects)
        found = None if before[2] is None or after[2] is None else (before[2], after[2])
        if found is not None and found[0].rate - found[1].rate > tolerate + 1e-9:
            msg = (
                f"the updated model finds {found[1].count} of {found[1].total} defects, the model before "
                f"{found[0].count}: more are lost than tolerate {tolerate:g} accepts. Nothing is written."
            )
            raise ValueError(msg)
        for name in (sums_file, Path, record_file):
            name(final).replace(name(output))
    assert before[0] is not None
    assert after[0] is not None
    alarms = None if before[1] is None or after[1] is None else (before[1], after[1])
    return Update(len(learned), (before[0], after[0]), alarms, found)


def _read(model: Path) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Content of a checkpoint, and the sums of its training images."""
    found = read_recorded(model)
    if found is None or not issubclass(found.method, FusedReverseDistillation):
        msg = f"{str(model)!r} must be a checkpoint of a FusedReverseDistillation: others learn by training only."
        raise ValueError(msg)
    content = read_plain(model, Distillation.checkpoint_safe_globals())
    sums = read_sums(model, content)
    return split_sums(content)[0], sums


def _sides(good: Sequence[Path], defects: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """New images to learn from, and those held out of the update."""
    digests = {path: hashlib.sha256(path.read_bytes()).digest() for path in good}
    marked = {hashlib.sha256(path.read_bytes()).digest() for path in defects}
    if both := [path for path, digest in digests.items() if digest in marked]:
        msg = f"{str(both[0])!r} is among the defects, too: a defect is never learned from."
        raise ValueError(msg)
    held_out = [path for path, digest in digests.items() if int.from_bytes(digest[:4], "big") % _HOLD_OUT == 0]
    learned = [path for path in digests if path not in set(held_out)]
    if len(learned) < 2 * _HOLD_OUT - 2 or not held_out:
        msg = (
            f"{len(good)} new good images are too few: one in {_HOLD_OUT} is held out to measure the update, which "
            f"leaves {len(learned)} to learn from and {len(held_out)} to measure. Give at least 20."
        )
        raise ValueError(msg)
    return learned, held_out


def _pixels(path: Path, max_pixels: int) -> np.ndarray:
    """The pixels of a file, of shape ``(H, W, 3)``."""
    facts, pixels = read_file(str(path), max_pixels)
    for problem in check_image(str(path), facts):
        if problem.severity == "error":
            msg = f"{str(path)!r} cannot be learned from: {problem.message}"
            raise ValueError(msg)
    return np.asarray(pixels)


def _shares(
    inspector: Inspector, good: Sequence[Path], old: Sequence[Path], defects: Sequence[Path]
) -> tuple[Share | None, Share | None, Share | None]:
    """Shares of new good images, old ones and defects that are called anomalous."""

    def share(paths: Sequence[Path]) -> Share | None:
        verdicts = [result.verdict for result in inspector([str(path) for path in paths])] if paths else []
        return Share(verdicts.count("anomalous"), len(verdicts)) if verdicts else None

    return share(good), share(old), share(defects)


def _changed(
    model: Path, content: dict[str, Any], sums: Mapping[str, Any], pixels: Sequence[np.ndarray], measured: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The checkpoint after the update, with the thresholds as they were, and the sums of all images."""
    module: Any = FusedReverseDistillation.load_from_checkpoint(model, map_location="cpu", visualizer=False)
    images = [torch.from_numpy(image.transpose(2, 0, 1).copy()).float() / 255 for image in pixels]
    kept = add_images(module, sums, images)
    state = {name: value for name, value in module.state_dict().items() if not name.startswith("post_processor.")}
    record = content[RECORD_KEY]
    updates = [*record.get("updates", ()), {"date": now(), "learned": len(images), "held_out": measured}]
    record = {**record, "learned": module.learned_settings(), "updates": updates}
    if (reference := Reference.of(record.get("reference", {}))) is not None:
        rows = np.concatenate([reference.statistics, [image_statistics(image) for image in pixels]])
        record["reference"] = replace(reference, statistics=sample(rows)).plain()
    return {**content, "state_dict": {**content["state_dict"], **state}, RECORD_KEY: record}, kept


def _thresholds(
    inspector: Inspector, new: Sequence[Path], old: Sequence[Path], rate: float | None, content: dict[str, Any]
) -> tuple[float, float]:
    """Thresholds of score and map, as scores of the changed model."""
    rate = rate or _rate(content)
    good = measure(inspector, [*new, *old])
    if old:
        choice = choose(rate, good)
        return choice.image, choice.pixel
    reference = inspector.inferencer.reference
    known = np.zeros(0) if reference is None else reference.scores
    choice = choose(rate, Measured(np.concatenate([good.scores, known]), good.peaks))
    # What the map of old images was is not known; the threshold holds for them as it is.
    return choice.image, max(choice.pixel, 0.5)


def _rate(content: Mapping[str, Any]) -> float:
    """The false-alarm rate of the training."""
    return float((content.get("anomalib_post_processor_config") or {}).get("false_alarm_rate", 0.01))
