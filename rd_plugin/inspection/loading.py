# SPDX-License-Identifier: Apache-2.0
"""Load a trained model from its file, with its record."""

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

from rd_plugin.drift import Reference
from rd_plugin.provenance import RECORD_KEY, Provenance, hash_export, is_untrained, read_record, record_file

from .inferencer import Inferencer, Precision, check_outputs
from .onnx_inferencer import ONNXInferencer
from .openvino_inferencer import OpenVINOInferencer

__all__ = ["load_inferencer", "model_files", "recorded_parts"]

# What belongs to a model besides its own file: OpenVINO's and ONNX's weights, the record, and the sums for updates.
_BESIDE = ("{stem}.bin", "{name}.data", "{stem}.json", "{name}.sums")


def load_inferencer(
    path: Path,
    threads: int | None = None,
    mode: Literal["throughput", "latency"] = "throughput",
    precision: Precision = "float32",
    device: str = "cpu",
) -> Inferencer:
    """Load a trained model.

    Args:
        path: An OpenVINO model (``.xml``), ONNX model (``.onnx``), torch export (``.pt``) or checkpoint (``.ckpt``).
        threads: Number of threads of the model; all cores by default.
        mode: ``"throughput"`` for most images a second, ``"latency"`` for the shortest time per image (OpenVINO).
        precision: Type of its computations; ``"bfloat16"`` and ``"float16"`` are for OpenVINO models, faster and less
            exact.
        device: ``"cpu"``; for OpenVINO models another of its devices, such as ``"GPU"``, ``"NPU"`` or ``"AUTO"``; for
            others ``"cuda"``.

    Raises:
        FileNotFoundError: If the file does not exist.
        ImportError: If its runtime is not installed.
        ValueError: If it cannot be read, has no scores or labels, has not been trained, or does not support the
            precision or the device.
    """
    if not path.is_file():
        msg = f"model {str(path)!r} is not a file."
        raise FileNotFoundError(msg)
    if precision not in get_args(Precision) or (precision != "float32" and path.suffix != ".xml"):
        accepted = "'float32', or 'bfloat16' or 'float16' for an OpenVINO model (.xml)"
        msg = f"precision must be {accepted}; got {precision!r} for {path.name}."
        raise ValueError(msg)
    if path.suffix == ".ckpt":
        return _torch_inferencers(path).CheckpointInferencer(path, threads, device)
    record = read_record(path)
    if is_untrained(record):
        msg = f"model {str(path)!r} has not been trained (0 steps in {record_file(path).name}); export a checkpoint."
        raise ValueError(msg)
    inferencer: Inferencer
    if path.suffix == ".xml":
        inferencer = OpenVINOInferencer(path, threads, mode, precision, device)
    elif path.suffix == ".onnx":
        inferencer = ONNXInferencer(path, threads, device)
    elif path.suffix == ".pt":
        inferencer = _torch_inferencers(path).TorchExportInferencer(path, threads, device)
    else:
        msg = (
            f"model {str(path)!r} must be an OpenVINO model (.xml), an ONNX model (.onnx), a torch export (.pt) or a "
            "checkpoint (.ckpt)."
        )
        raise ValueError(msg)
    # Of a model without a record, too, rows must say which one it was.
    inferencer.record_id = hashlib.sha256(str(sorted(hash_export(path).items())).encode()).hexdigest()[:12]
    if record and (known := Provenance.of({RECORD_KEY: record})):
        inferencer.record, inferencer.record_id = record, known.id
        inferencer.reference = Reference.of(known.reference)
        # An int8 export gives other scores than the model that the reference was made with.
        if inferencer.reference and "int8" in str(record.get("export", {}).get("compression_type")).lower():
            inferencer.reference = Reference(inferencer.reference.statistics)
    # Records of the first versions do not say it.
    export = record.get("export", {})
    check_outputs(path, ("pred_label", "pred_score"), export.get("threshold", inferencer.threshold))
    inferencer.threshold = float(export.get("threshold", inferencer.threshold))
    return inferencer


def model_files(path: Path) -> list[Path]:
    """Return the files of a model: its own, and those that belong to it."""
    beside = (path.with_name(form.format(stem=path.stem, name=path.name)) for form in _BESIDE)
    return [path, *(file for file in beside if file.is_file())]


def recorded_parts(path: Path) -> tuple[str, ...]:
    """Return the names of the parts that a checkpoint is for; empty for one part, and for all other files."""
    if path.suffix != ".ckpt" or not path.is_file():
        return ()
    try:
        found = _torch_inferencers(path).read_recorded(path)
    except ValueError:  # which loading it will explain
        return ()
    return () if found is None else tuple(found.record.parts)


def _torch_inferencers(path: Path) -> Any:
    """The runtimes that need torch and anomalib; importing them takes seconds."""
    try:
        return import_module(f"{__package__}.torch_inferencer")
    except ModuleNotFoundError as error:
        msg = (
            f"model {str(path)!r} needs torch and anomalib, but {error.name} is not installed; export the model with "
            "rd-plugin export --export_type openvino, and inspect the .xml."
        )
        raise ImportError(msg) from error
