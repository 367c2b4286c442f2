# SPDX-License-Identifier: Apache-2.0
"""The record of a model's origin, kept in and next to its checkpoints and exports."""

import hashlib
import json
import logging
import platform
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rd_plugin.storage import atomic_file

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "RECORD_KEY",
    "Provenance",
    "hash_export",
    "hash_weights",
    "installed_versions",
    "is_untrained",
    "now",
    "read_record",
    "record_file",
    "write_record",
]

logger = logging.getLogger(__name__)

# A checkpoint's key for its record.
RECORD_KEY = "rd_plugin_provenance"

_SUFFIXES = (".ckpt", ".pt", ".onnx", ".xml")
_PACKAGES = ("rd-plugin", "anomalib", "lightning", "timm", "torch", "torchvision", "onnx", "openvino", "nncf")
_STRUCTURE = ("backbone", "layers", "bottleneck", "injection", "deviation", "student_depth", "recentred", "align")
# Most characters of an argument's value in a message.
_LONGEST = 80
_ANOMALY_MAP = (
    "anomaly_map_mode",
    "score",
    "blur_sigma",
    "blur_border",
    "map_size",
    "tile_size",
    "tile_overlap",
    "roi",
)


@dataclass(frozen=True)
class Provenance:
    """What a model is and what it was trained on, as plain data.

    Args:
        method: Name of the model's class.
        arguments: The model's arguments; ``layers`` by name, also if the default was used.
        input_size: Height and width in pixels that its pre-processor resizes to; ``None`` if it does not resize.
        crop: Resizes and centre crops of a pre-processor that crops, see :func:`~rd_plugin.data.crop.crop_steps`; empty
            for one that does not.
        steps: Optimizer steps taken.
        seed: Lightning's global seed; ``None`` if the run was not seeded.
        teacher: Hash of the teacher's pre-trained weights, of the stages that are used.
        data: Data module of the training, a fingerprint of the images, and hashes of the good images held out;
            ``None`` if there was no data module.
        learned: What the model has fitted to normal images besides its weights; empty for most methods.
        reference: Statistics and scores of normal images, as plain data; see :class:`~rd_plugin.drift.Reference`. Empty
            if they are unknown.
        parts: Of a model for several parts, by name: each one's own ``"reference"``, and the
            ``"features"`` that it is recognized by. Empty for one part.
        part: Name of the part that an export of such a model, or the model as it inspects, is for; otherwise empty.
        updates: Updates with new good images, in order: time, and numbers of images learned from and held out.
        regions: Rules about which regions count; see :class:`~rd_plugin.results.RegionRules`. Empty without a rule.
        thresholds: Thresholds that were set after the training, in order: time, the score and the map's value in the
            model before, and where they come from.
        versions: Versions of Python, the platform and the packages of the training.
        date: Time when the checkpoint was written, ISO 8601 in UTC.
        converted_from: Program whose checkpoint this was converted from, which does not record its training; ``None``
            if it was not converted.
    """

    method: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    input_size: list[int] | None = None
    crop: list[list[Any]] = field(default_factory=list)
    steps: int = 0
    seed: int | None = None
    teacher: str | None = None
    data: dict[str, Any] | None = None
    learned: dict[str, Any] = field(default_factory=dict)
    reference: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    part: str = ""
    updates: list[dict[str, Any]] = field(default_factory=list)
    regions: dict[str, Any] = field(default_factory=dict)
    thresholds: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    date: str | None = None
    converted_from: str | None = None

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any]) -> "Provenance | None":
        """Return a checkpoint's record; ``None`` if it has none, as in older and other programs' checkpoints."""
        content = checkpoint.get(RECORD_KEY)
        if not isinstance(content, dict):
            return None
        names = {entry.name for entry in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in names})

    @property
    def id(self) -> str:
        """Identifier of the model, twelve hexadecimal digits; a checkpoint and its exports share it."""
        # Empty fields that a later version adds do not change the identifier of a model.
        text = json.dumps({name: value for name, value in self.plain().items() if value}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the training images; ``None`` if it was not taken."""
        return (self.data or {}).get("fingerprint")

    def of_part(self, part: str) -> "Provenance":
        """Return the record of the model for one of its parts."""
        return replace(self, part=part, parts={}, reference=self.parts.get(part, {}).get("reference", {}))

    def plain(self) -> dict[str, Any]:
        """Return the record as JSON types: lists for tuples, text for paths."""
        return json.loads(json.dumps(asdict(self), default=str))

    def check_fits(self, model: "Provenance", methods: Collection[str]) -> None:
        """Check a model against this record of its checkpoint; warn if it computes other maps and scores.

        Args:
            model: Record of the model.
            methods: Names of the classes that the model is an instance of.

        Raises:
            ValueError: If the weights do not fit; the message names the differences.
        """
        misfit = self._differences(model, _STRUCTURE)
        if self.method and self.method not in methods:
            misfit.insert(0, f"method {self.method!r} in the checkpoint, {model.method!r} in the model")
        if misfit:
            msg = (
                f"The checkpoint does not fit the model: {'; '.join(misfit)}. Build the model with the checkpoint's "
                "arguments; load_from_checkpoint takes those that are not given from the checkpoint."
            )
            raise ValueError(msg)
        if others := self._differences(model, _ANOMALY_MAP):
            logger.warning("The checkpoint's thresholds do not fit the model: %s. Validate again.", "; ".join(others))

    def _differences(self, model: "Provenance", names: Collection[str]) -> list[str]:
        """Describe differences in arguments that both have."""
        ours, theirs = model.plain()["arguments"], self.plain()["arguments"]
        if theirs:
            # Models of version 0.2 looked at whole images, as they were.
            theirs.setdefault("roi", None)
            theirs.setdefault("align", "none")
        return [
            f"{name} {_shown(theirs[name])} in the checkpoint, {_shown(ours[name])} in the model"
            for name in names
            if name in ours and name in theirs and _core(name, ours[name]) != _core(name, theirs[name])
        ]


def _shown(value: Any) -> str:
    """An argument's value in a message, shortened if it is long, as a region is."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _core(name: str, value: Any) -> Any:
    """The part of an argument that is compared: the tag of a backbone names weights, which a checkpoint replaces."""
    return str(value).partition(".")[0] if name == "backbone" else value


def is_untrained(content: Mapping[str, Any]) -> bool:
    """Whether a record says that its model has never been trained.

    Args:
        content: The record as plain data, of this version or an earlier one without converted checkpoints.
    """
    if content.get("steps") != 0:
        return False
    known = "converted_from" in content
    return content["converted_from"] is None if known else content.get("date") is None


def now() -> str:
    """Return the time in UTC, to the second, as ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


# Reads and parses a package's metadata, and each checkpoint names several packages.
_version = cache(version)


def installed_versions() -> dict[str, str]:
    """Return the versions of Python, the platform and those packages that are installed."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = _version(package)
    return versions


def hash_weights(state: Mapping[str, "Tensor"]) -> str:
    """Hash tensors with their names, shapes and types, without counters and other integers.

    Args:
        state: Tensors by name, on any device and in any memory format.

    Returns:
        SHA-256 in hexadecimal.

    Example:
        >>> import torch
        >>> hash_weights({"weight": torch.zeros(2)})[:8]
        '162a6f1e'
    """
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        if tensor.is_floating_point():
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def hash_export(path: str | Path) -> dict[str, str]:
    """Return the SHA-256 of an export's files by name: the main file, and OpenVINO's weights."""
    path = Path(path)
    files = [file for file in dict.fromkeys([path, path.with_suffix(".bin")]) if file.is_file()]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def record_file(path: str | Path) -> Path:
    """Return the path of the record next to a checkpoint or an export.

    Example:
        >>> [record_file(name).name for name in ("model.ckpt", "loss=0.5")]
        ['model.json', 'loss=0.5.json']
    """
    path = Path(path)
    return path.with_name(f"{path.stem if path.suffix in _SUFFIXES else path.name}.json")


def read_record(path: str | Path) -> dict[str, Any]:
    """Return the record next to a checkpoint or an export; empty without one, or if it belongs to another export."""
    file = record_file(path)
    try:
        record = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(record, dict) or "method" not in record:
        return {}
    # The record of a checkpoint has no hashes of files.
    files = record.get("export", {}).get("files")
    if files is not None and files != hash_export(path):
        logger.warning("%s belongs to another export than %s, and is not used.", file, Path(path).name)
        return {}
    return record


def write_record(path: str | Path, record: Mapping[str, Any]) -> None:
    """Write a record atomically.

    Args:
        path: The JSON file, in a folder that exists; an existing file is replaced.
        record: Plain data.

    Raises:
        OSError: If the file cannot be written.
    """
    with atomic_file(path) as partial:
        partial.write_text(f"{json.dumps(record, indent=2)}\n")
