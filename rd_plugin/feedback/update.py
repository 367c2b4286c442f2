# SPDX-License-Identifier: Apache-2.0
"""Update a model with images that are good, and measure what that changes."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from rd_plugin.data.check import MAX_PIXELS, check_image, read_file
from rd_plugin.data.labels import content_digest, is_held_out
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

from .statistics import add_images, features_of
from .training import train_further

__all__ = ["Update", "update_model"]

# At least so many new images must be left to learn from.
_FEWEST = 4
# A model without gradient steps is built so many times without some of the images, which then help to set the
# threshold.
_FOLDS = 10

# The content of a checkpoint after learning from some images, and the sums of all images.
_Learn = Callable[[Sequence[Path]], tuple[dict[str, Any], Mapping[str, Any]]]


@dataclass(frozen=True)
class Update:
    """What an update changed: shares of images called anomalous by the model before and after.

    Args:
        learned: Number of new images that the model has learned from.
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
    training: Sequence[Path] = (),
    defects: Sequence[Path] = (),
    rate: float | None = None,
    tolerate: float = 0.02,
    steps: int = 50,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
    threads: int | None = None,
) -> Update:
    """Write a checkpoint that accepts new good images as normal, with a new threshold.

    The model learns from two of three new images, but from none that the training held out. A
    :class:`~rd_plugin.models.FusedReverseDistillation` adds them to its means and covariances, without a training step,
    and weights its evidence again; the other models are trained for a few steps. The threshold is the higher one of two
    that keep the rate: among new good images that were held out, and among good images that the training held
    out. Without any of these, the scores of the old model in the record count. So that few new
    images suffice, a fused model is also fitted without each tenth of the new images in turn, which it then
    scores.

    Args:
        model: Checkpoint of one of the package's models.
        output: The checkpoint to write.
        good: New good images, at least six. Those that are among ``defects`` are refused.
        old: Good images held out of the training.
        training: Good images of the training's folder. Those that the training held out, by its record, count as
            ``old``; models that take steps learn from the others again. Those among ``defects`` are left out.
        defects: Images of defects, which are only counted.
        rate: False-alarm rate of the threshold; by default as in the training.
        tolerate: Share of the defects that may be found by the old model and missed by the new one, in [0, 1].
        steps: Training steps of a model that takes any, of 16 images.
        overwrite: Whether ``output`` may exist, or be the model itself.
        max_pixels: Maximum number of pixels in an image.
        threads: Number of threads; all cores by default.

    Returns:
        Shares before and after.

    Raises:
        FileExistsError: If ``output`` exists and may not be overwritten.
        OSError: If a file cannot be read or written; nothing is left, and an earlier file is kept.
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
    if steps < 1:
        msg = f"steps must be at least 1, got {steps}."
        raise ValueError(msg)
    content, method = _read(model)
    apart = set((content[RECORD_KEY].get("data") or {}).get("held_out", ()))
    marked = {content_digest(path) for path in defects}
    digests = {path: content_digest(path) for path in training}
    known = {path: digest in apart for path, digest in digests.items() if digest not in marked}
    old = [*old, *(path for path, flag in known.items() if flag)]
    learned, held_out = _sides(good, marked, apart)
    pixels = {path: _pixels(path, max_pixels) for path in learned}
    exact = issubclass(method, FusedReverseDistillation)
    learn = (
        _adding(model, content, pixels)
        if exact
        else _training(model, method, content, [path for path, flag in known.items() if not flag], steps)
    )
    content = split_sums(content)[0]
    before = _shares(Inspector(model, max_pixels=max_pixels, threads=threads), held_out, old, defects)
    with TemporaryDirectory(prefix=".update.", suffix=".partial", dir=output.parent) as folder:

        def scores(content: Mapping[str, Any], paths: Sequence[Path]) -> Measured:
            """How a changed model scores images."""
            # Not into a file that another inspector may have mapped.
            Path(folder, "changed.ckpt").unlink(missing_ok=True)
            torch.save(content, Path(folder, "changed.ckpt"))
            changed = Inspector(Path(folder, "changed.ckpt"), max_pixels=max_pixels, threads=threads, unclipped=True)
            return measure(changed, paths)

        changed, sums = learn(learned)
        parts = filter(None, (learned[place::_FOLDS] for place in range(_FOLDS))) if exact else ()
        found = [scores(learn([path for path in learned if path not in part])[0], part) for part in parts]
        new = _joined([*found, scores(changed, held_out)])
        image, pixel = _thresholds(new, scores(changed, old) if old else None, rate, content)
        final = Path(folder, output.name)
        changed[RECORD_KEY] = _recorded(changed, [pixels[path] for path in learned], len(held_out))
        torch.save(changed, Path(folder, "changed.ckpt"))
        write_threshold(
            Path(folder, "changed.ckpt"), final, image, pixel, {"rate": rate or _rate(content), "update": len(learned)}
        )
        after = _shares(Inspector(final, max_pixels=max_pixels, threads=threads), held_out, old, defects)
        _check_found(before[2], after[2], tolerate)
        if sums:
            write_sums(final, changed, sums)
            sums_file(final).replace(sums_file(output))
        else:
            sums_file(output).unlink(missing_ok=True)
        final.replace(output)
        record_file(final).replace(record_file(output))
    assert before[0] is not None
    assert after[0] is not None
    alarms = None if before[1] is None or after[1] is None else (before[1], after[1])
    found_defects = None if before[2] is None or after[2] is None else (before[2], after[2])
    return Update(len(learned), (before[0], after[0]), alarms, found_defects)


def _read(model: Path) -> tuple[dict[str, Any], type[Distillation]]:
    """Content of a checkpoint, and the class of its model."""
    found = read_recorded(model)
    if found is None:
        msg = f"{str(model)!r} must be a checkpoint of one of the package's models, with its record."
        raise ValueError(msg)
    if found.record.parts:
        msg = f"{str(model)!r} is for several parts, whose statistics cannot be updated: train it again."
        raise ValueError(msg)
    return read_plain(model, Distillation.checkpoint_safe_globals()), found.method


def _adding(model: Path, content: Mapping[str, Any], pixels: Mapping[Path, np.ndarray]) -> _Learn:
    """How a fused model learns: by adding images to its statistics."""
    sums, rest = read_sums(model, content), split_sums(content)[0]
    module: Any = FusedReverseDistillation.load_from_checkpoint(model, map_location="cpu", visualizer=False)
    images = {path: torch.from_numpy(image.transpose(2, 0, 1).copy()).float() / 255 for path, image in pixels.items()}
    features = {path: features_of(module, image) for path, image in images.items()}

    def learn(paths: Sequence[Path]) -> tuple[dict[str, Any], Mapping[str, Any]]:
        # Once with all images, which weight the evidence; then without some.
        weigh = len(paths) == len(images)
        kept = add_images(module, sums, [images[path] for path in paths], [features[path] for path in paths], weigh)
        return _with(rest, module, {"learned": module.learned_settings()}), kept

    return learn


def _training(
    model: Path, method: type[Distillation], content: Mapping[str, Any], old: Sequence[Path], steps: int
) -> _Learn:
    """How the other models learn: by training steps."""

    def learn(paths: Sequence[Path]) -> tuple[dict[str, Any], Mapping[str, Any]]:
        module = method.load_from_checkpoint(model, map_location="cpu", visualizer=False, evaluator=False)
        train_further(module, paths, old, steps)
        return _with(content, module, {"steps": content[RECORD_KEY].get("steps", 0) + steps}), {}

    return learn


def _with(content: Mapping[str, Any], module: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint with the networks and statistics of a model, the thresholds as they were, and a changed record."""
    state = {name: value for name, value in module.state_dict().items() if name in content["state_dict"]}
    state = {name: value for name, value in state.items() if not name.startswith("post_processor.")}
    record = {**content[RECORD_KEY], **changes}
    return {**content, "state_dict": {**content["state_dict"], **state}, RECORD_KEY: record}


def _recorded(content: Mapping[str, Any], pixels: Sequence[np.ndarray], measured: int) -> dict[str, Any]:
    """The record with the update, and with statistics of new images in the reference."""
    record = content[RECORD_KEY]
    updates = [*record.get("updates", ()), {"date": now(), "learned": len(pixels), "held_out": measured}]
    record = {**record, "updates": updates}
    if (reference := Reference.of(record.get("reference", {}))) is not None:
        rows = np.concatenate([reference.statistics, [image_statistics(image) for image in pixels]])
        record["reference"] = replace(reference, statistics=sample(rows)).plain()
    return record


def _check_found(before: Share | None, after: Share | None, tolerate: float) -> None:
    """Check that few defects are lost.

    Raises:
        ValueError: If they are more than tolerated.
    """
    if before is not None and after is not None and before.rate - after.rate > tolerate + 1e-9:
        msg = (
            f"the updated model finds {after.count} of {after.total} defects, the old model {before.count}: more "
            f"are lost than tolerate {tolerate:g} accepts. Nothing is written."
        )
        raise ValueError(msg)


def _sides(good: Sequence[Path], marked: Container[str], apart: Container[str]) -> tuple[list[Path], list[Path]]:
    """New images to learn from, and those held out of the update, with those that the training held out."""
    digests = {path: content_digest(path) for path in good}
    if both := [path for path, digest in digests.items() if digest in marked]:
        msg = f"{str(both[0])!r} is also among the defects: the update never learns from a defect."
        raise ValueError(msg)
    held_out = [path for path, digest in digests.items() if digest in apart or is_held_out(digest)]
    learned = [path for path in digests if path not in set(held_out)]
    if len(learned) < _FEWEST or not held_out:
        msg = (
            f"{len(good)} new good images are too few: one in three is held out to measure the update, as are those "
            f"that the training held out, which leaves {len(learned)} to learn from and {len(held_out)} to measure. "
            "Give at least 20."
        )
        raise ValueError(msg)
    return learned, held_out


def _pixels(path: Path, max_pixels: int) -> np.ndarray:
    """The pixels of a file, of shape ``(H, W, 3)``."""
    facts, pixels = read_file(str(path), max_pixels)
    for problem in check_image(str(path), facts):
        if problem.severity == "error":
            msg = f"{str(path)!r} cannot be used: {problem.message}"
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


def _joined(parts: Sequence[Measured]) -> Measured:
    """Scores of images that were measured in several parts."""
    return Measured(np.concatenate([part.scores for part in parts]), np.concatenate([part.peaks for part in parts]))


def _thresholds(
    new: Measured, old: Measured | None, rate: float | None, content: Mapping[str, Any]
) -> tuple[float, float]:
    """Thresholds of score and map, as scores of the changed model: the higher ones of new and old images."""
    rate = rate or _rate(content)
    if old is None:
        reference = Reference.of(content[RECORD_KEY].get("reference", {}))
        known = np.zeros(0) if reference is None else reference.scores
        # What the map of old images was is not known; the threshold holds for them as it is.
        old = Measured(known, np.full(len(known), 0.5))
    choices = [choose(rate, part) for part in (new, old) if len(part.scores)]
    return max(choice.image for choice in choices), max(choice.pixel for choice in choices)


def _rate(content: Mapping[str, Any]) -> float:
    """The false-alarm rate of the training."""
    return float((content.get("anomalib_post_processor_config") or {}).get("false_alarm_rate", 0.01))
