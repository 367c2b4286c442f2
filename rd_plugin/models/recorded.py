# SPDX-License-Identifier: Apache-2.0
"""The model of a checkpoint, from the record that it holds."""

from pathlib import Path
from typing import Any, NamedTuple

from anomalib.post_processing import PostProcessor

from rd_plugin.post_processor import DistillationPostProcessor
from rd_plugin.provenance import RECORD_KEY, Provenance
from rd_plugin.provenance.module import argument_names
from rd_plugin.storage import read_plain

from . import METHODS
from .distillation import Distillation

__all__ = ["Recorded", "read_recorded"]


class Recorded(NamedTuple):
    """The model that a checkpoint holds.

    Args:
        method: The model's class.
        record: Its record.
        plain: The record as the checkpoint holds it, which may be from an earlier version.
        post_processor: Class path and arguments of its post-processor; ``True`` if the checkpoint does not say them.
    """

    method: type[Distillation]
    record: Provenance
    plain: dict[str, Any]
    post_processor: dict[str, Any] | bool = True


def read_recorded(checkpoint: str | Path) -> Recorded | None:
    """Read a checkpoint's record, without its weights.

    Returns:
        The model and its record; ``None`` if it is not one of the package's models.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it holds more than plain data.
    """
    content = read_plain(checkpoint, Distillation.checkpoint_safe_globals(), mmap=True)
    record = Provenance.of(content) if isinstance(content, dict) else None
    method = next((method for method in METHODS if record is not None and method.__name__ == record.method), None)
    if record is None or method is None:
        return None
    return Recorded(method, record, content[RECORD_KEY], _post_processor(content.get("anomalib_post_processor_config")))


def _post_processor(arguments: dict[str, Any] | None) -> dict[str, Any] | bool:
    """Class path and arguments of a checkpoint's post-processor."""
    if not arguments:
        return True
    kind = DistillationPostProcessor if "false_alarm_rate" in arguments else PostProcessor
    known = {name: value for name, value in arguments.items() if name in argument_names(kind)}
    return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": known}
