# SPDX-License-Identifier: Apache-2.0
"""Write a model with another threshold: a checkpoint, or an export for torch, ONNX or OpenVINO."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rd_plugin.components.scale import bend
from rd_plugin.drift import Reference
from rd_plugin.export.constants import Constants, read_constants, write_constants
from rd_plugin.inspection.torch_inferencer import TorchExportInferencer
from rd_plugin.models.distillation import Distillation
from rd_plugin.post_processor import DistillationPostProcessor
from rd_plugin.provenance import (
    RECORD_KEY,
    copied_sums,
    hash_export,
    now,
    read_record,
    record_file,
    write_record,
)
from rd_plugin.results import straighten
from rd_plugin.storage import atomic_export, check_checkpoint, read_plain

__all__ = ["with_threshold", "write_threshold"]

# Thresholds of a model that has none, before it gets its own: scores and maps are then scaled, and keep their order.
_PROVISIONAL = Constants(1, 2, 1, 2)
# anomalib's key for the post-processor in a checkpoint, and what the names of its buffers begin with.
_CONFIGURATION, _BUFFERS = "anomalib_post_processor_config", "post_processor."


def write_threshold(
    model: str | Path,
    output: str | Path,
    image: float,
    pixel: float,
    how: Mapping[str, Any],
    overwrite: bool = False,
    part: str | None = None,
) -> Path:
    """Write a copy of a model with other thresholds.

    Scores and maps are scaled, so that the new threshold becomes the model's number for it, 0.5 by default. The record
    keeps all thresholds that the model has had, and the scores of its reference follow.

    Args:
        model: A checkpoint (``.ckpt``), or an export (``.pt``, ``.onnx`` or ``.xml``).
        output: The file to write, of the same kind; its record is written next to it.
        image: The new threshold as a score of the current model, in (0, 1).
        pixel: The new threshold of the map, likewise.
        how: What the record says about the choice, as plain data.
        overwrite: Whether ``output`` may exist, or be the model itself.
        part: Of a checkpoint for several parts, the one whose thresholds are set; the others keep theirs.

    Returns:
        ``output``.

    Raises:
        FileExistsError: If ``output`` exists and may not be overwritten.
        OSError: If it cannot be written; nothing is left, and an earlier file is kept.
        ValueError: If a threshold is out of range, or that of the model cannot be changed.
    """
    model, output = Path(model), Path(output)
    if model.suffix != output.suffix or model.suffix not in {".ckpt", *_WRITERS}:
        kinds = [".ckpt", *_WRITERS]
        msg = f"output {str(output)!r} must end in {model.suffix!r}, as the model does, and be one of {kinds}."
        raise ValueError(msg)
    if output.exists() and not overwrite:
        msg = f"output {str(output)!r} exists already: give another name, or overwrite."
        raise FileExistsError(msg)
    for name, value in (("image", image), ("pixel", pixel)):
        if not 0 < value < 1:
            msg = f"{name} threshold must be a score above 0 and below 1, got {value:g}: scores are clipped at 0."
            raise ValueError(msg)
    if model.suffix == ".ckpt":
        return _write_checkpoint(model, output, (image, pixel), dict(how), part)
    return _WRITERS[model.suffix](model, output, (image, pixel), dict(how))


def _moved(old: Constants, thresholds: tuple[float, float], own: float) -> tuple[Constants, float]:
    """Constants after the scores are multiplied, on the linear scale, and the factor of the image scores."""
    numbers, factors = [], []
    pairs = ((old.image_threshold, old.image_range, own), (old.pixel_threshold, old.pixel_range, 0.5))
    for (threshold, width, wanted), value in zip(pairs, thresholds, strict=True):
        factors.append(straighten(wanted) / straighten(value))
        lowest = threshold - width / 2
        numbers += [lowest + width / 2 / factors[-1], width / factors[-1]]
    return Constants(*numbers), factors[0]


def _recorded(record: Mapping[str, Any], how: dict[str, Any], thresholds: tuple[float, float], factor: float) -> dict:
    """The record with the new threshold at the end of its history, and the reference's scores as they are now."""
    entry = {"date": now(), "score": round(thresholds[0], 6), "map": round(thresholds[1], 6), **how}
    record = {**record, "thresholds": [*record.get("thresholds", ()), entry]}
    if (reference := Reference.of(record.get("reference", {}))) is not None:
        scores = bend(torch.from_numpy(factor * straighten(np.clip(reference.scores, 0, 1 - 1e-9)))).numpy()
        record["reference"] = replace(reference, scores=scores).plain()
    return record


@contextmanager
def with_threshold(model: str | Path, part: str | None = None) -> Iterator[Path]:
    """Give a checkpoint that was never validated a provisional threshold, so that it can score images.

    Args:
        model: A checkpoint or an export.
        part: Of a checkpoint for several parts, the one that is used.

    Yields:
        A copy of the checkpoint that is deleted afterwards; the model itself if it has a threshold, or is an export.

    Raises:
        OSError: If it cannot be read or copied.
        ValueError: If it is not a checkpoint.
    """
    model = Path(model)
    content, post_processor = _read_checkpoint(model) if model.suffix == ".ckpt" else ({}, None)
    if post_processor is None or not post_processor.of(part).image_threshold.isnan():
        yield model
        return
    own = post_processor.of(part)
    for lowest in (own.image_min, own.pixel_min):
        lowest.fill_(0)
    own.set_scale(_PROVISIONAL)
    with tempfile.TemporaryDirectory() as folder:
        torch.save(_with(content, post_processor), Path(folder) / model.name)
        yield Path(folder) / model.name


def _read_checkpoint(model: Path) -> tuple[dict[str, Any], DistillationPostProcessor]:
    """Content of a checkpoint, and its post-processor."""
    content = read_plain(model, Distillation.checkpoint_safe_globals())
    check_checkpoint(model, content)
    post_processor = DistillationPostProcessor()
    state = content["state_dict"]
    post_processor.load_checkpoint_config(content.get(_CONFIGURATION) or {})
    names = post_processor.state_dict().keys()
    found = {name: state[_BUFFERS + name] for name in names if _BUFFERS + name in state}
    post_processor.load_state_dict(found, strict=False)
    return content, post_processor


def _with(content: dict[str, Any], post_processor: DistillationPostProcessor) -> dict[str, Any]:
    """The content of a checkpoint with another post-processor."""
    buffers = {_BUFFERS + name: value for name, value in post_processor.state_dict().items()}
    configuration = {**(content.get(_CONFIGURATION) or {}), "clip_scores": False}
    return {**content, "state_dict": {**content["state_dict"], **buffers}, _CONFIGURATION: configuration}


def _write_checkpoint(
    model: Path, output: Path, thresholds: tuple[float, float], how: dict[str, Any], part: str | None
) -> Path:
    content, post_processor = _read_checkpoint(model)
    factor = _set(post_processor.of(part), thresholds, model)
    content = _with(content, post_processor)
    record = content.get(RECORD_KEY) or {}
    if part is None:
        record = _recorded(record, how, thresholds, factor)
    else:
        # The part has a reference of its own, and one history is for all.
        of_part = {**record, **record.get("parts", {}).get(part, {})}
        of_part = _recorded(of_part, {"part": part, **how}, thresholds, factor)
        parts = {**record.get("parts", {}), part: {"reference": of_part.get("reference", {})}}
        record = {**record, "thresholds": of_part["thresholds"], "parts": parts}
    if RECORD_KEY in content:
        content[RECORD_KEY] = record

    def write(folder: Path | str) -> Path:
        path = Path(folder) / output.name
        torch.save(content, path)
        return path

    # A file alone replaces an earlier one in one step; the record next to it is only a copy.
    with copied_sums(model, output):
        written = atomic_export(write, output.parent)
    write_record(record_file(written), record)
    return written


def _write_torch(model: Path, output: Path, thresholds: tuple[float, float], how: dict[str, Any]) -> Path:
    module = TorchExportInferencer(model).module
    factor = _set(getattr(module, "post_processor", None), thresholds, model)
    return _write_export(model, output, lambda path: torch.save({"model": module}, path), how, thresholds, factor)


def _write_graph(model: Path, output: Path, thresholds: tuple[float, float], how: dict[str, Any]) -> Path:
    threshold = read_record(model).get("export", {}).get("threshold")
    constants, factor = _moved(read_constants(model), thresholds, 0.5 if threshold is None else float(threshold))
    return _write_export(model, output, lambda path: write_constants(model, path, constants), how, thresholds, factor)


def _set(post_processor: Any, thresholds: tuple[float, float], model: Path) -> float:
    """Set a post-processor's thresholds and ranges, and return the factor of the image scores."""
    old = None
    if isinstance(post_processor, DistillationPostProcessor):
        post_processor.clip_scores = False
        old = post_processor.scale()
    if old is None:
        msg = (
            f"{str(model)!r} has no threshold that can be changed: no validation has set it, or scores are not scaled."
        )
        raise ValueError(msg)
    constants, factor = _moved(old, thresholds, float(post_processor.normalized_image_threshold))
    post_processor.set_scale(constants)
    return factor


def _write_export(
    model: Path,
    output: Path,
    write_model: Callable[[Path], None],
    how: dict[str, Any],
    thresholds: tuple[float, float],
    factor: float,
) -> Path:
    """Write an export and its record."""
    known = read_record(model)

    def write(folder: Path | str) -> Path:
        path = Path(folder) / output.name
        write_model(path)
        if known:
            record = _recorded(known, how, thresholds, factor)
            write_record(
                record_file(path), {**record, "export": {**record.get("export", {}), "files": hash_export(path)}}
            )
        return path

    return atomic_export(write, output.parent)


_WRITERS: dict[str, Callable[[Path, Path, tuple[float, float], dict[str, Any]], Path]] = {
    ".pt": _write_torch,
    ".onnx": _write_graph,
    ".xml": _write_graph,
}
