# SPDX-License-Identifier: Apache-2.0
"""A trained model found by its file, with what the record beside it says."""

import json
import logging
from pathlib import Path
from typing import Any, Literal, get_args

from rd_plugin.drift import Reference
from rd_plugin.provenance import RECORD_KEY, Provenance, hash_export, is_untrained, record_file

from .judge import Judge, Precision
from .onnx_judge import ONNXJudge
from .openvino_judge import OpenVINOJudge

__all__ = ["load_judge"]

logger = logging.getLogger(__name__)


def load_judge(
    path: Path,
    threads: int | None = None,
    mode: Literal["throughput", "latency"] = "throughput",
    precision: Precision = "float32",
) -> Judge:
    """Load a trained model.

    Args:
        path: An OpenVINO model (``.xml``), ONNX model (``.onnx``), torch export (``.pt``) or checkpoint (``.ckpt``).
        threads: How many threads it computes with; all cores by default.
        mode: ``"throughput"`` for most images a second, ``"latency"`` for the shortest time an image (OpenVINO).
        precision: What it computes in; ``"bfloat16"`` is OpenVINO's, quicker and less exact.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If what runs it is not installed.
        ValueError: If it cannot be read, gives no scores or labels, has not been trained, or knows no such precision.
    """
    if not path.is_file():
        msg = f"model {str(path)!r} is not a file."
        raise FileNotFoundError(msg)
    if precision not in get_args(Precision) or (precision != "float32" and path.suffix != ".xml"):
        accepted = "'float32', or 'bfloat16' for an OpenVINO model (.xml)"
        msg = f"precision must be {accepted}; got {precision!r} for {path.name}."
        raise ValueError(msg)
    if path.suffix == ".ckpt":
        from .torch_judge import CheckpointJudge

        return CheckpointJudge(path, threads)
    record = _record(path)
    if is_untrained(record):
        msg = f"model {str(path)!r} has not been trained (0 steps in {record_file(path).name}); export a checkpoint."
        raise ValueError(msg)
    judge: Judge
    if path.suffix == ".xml":
        judge = OpenVINOJudge(path, threads, mode, precision)
    elif path.suffix == ".onnx":
        judge = ONNXJudge(path, threads)
    elif path.suffix == ".pt":
        from .torch_judge import TorchExportJudge

        judge = TorchExportJudge(path, threads)
    else:
        msg = (
            f"model {str(path)!r} must be an OpenVINO model (.xml), an ONNX model (.onnx), a torch export (.pt) or a "
            "checkpoint (.ckpt)."
        )
        raise ValueError(msg)
    if record and (known := Provenance.of({RECORD_KEY: record})):
        judge.record, judge.record_id = record, known.id
        judge.reference = Reference.of(known.reference)
        # An export in 8 bits gives other scores than the model that the reference's come from.
        if judge.reference and "int8" in str(record.get("export", {}).get("compression_type")).lower():
            judge.reference = Reference(judge.reference.statistics)
    threshold = record.get("export", {}).get("threshold")
    judge.threshold = judge.threshold if threshold is None else float(threshold)
    return judge


def _record(path: Path) -> dict[str, Any]:
    """The record beside an export; empty if there is none of ours, or one of another export."""
    try:
        record = json.loads(record_file(path).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(record, dict) or "method" not in record:
        return {}
    # Exports of before have no hashes.
    files = record.get("export", {}).get("files")
    if files is not None and files != hash_export(path):
        logger.warning("%s is the record of another export than %s, and is not used.", record_file(path), path.name)
        return {}
    return record
