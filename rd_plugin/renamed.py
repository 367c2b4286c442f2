# SPDX-License-Identifier: Apache-2.0
"""Names of version 0.2 that have changed. They work until version 0.4."""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["renamed"]

_CALLBACKS = "callbacks"
# By room: the old name, and the room and name that replace it.
_NAMES: dict[str, dict[str, tuple[str, str]]] = {
    "components": {"withhold": ("components", "mask_invalid"), "within": ("components", "in_range")},
    "data.check": {"DataCheck": (_CALLBACKS, "DataCheck")},
    "drift": {"ReferenceWriter": (_CALLBACKS, "ReferenceWriter")},
    "inspection": {
        "Judge": ("inspection", "Inferencer"),
        "load_judge": ("inspection", "load_inferencer"),
        "Row": ("results", "InspectionResult"),
        **{name: ("results", name) for name in ("Picture", "Region", "find_regions")},
    },
    "provenance": {name: (_CALLBACKS, name) for name in ("ProvenanceWriter", "RecordedCheckpointIO")},
    "report": {
        "JudgedImage": ("results", "InspectionResult"),
        "Judgement": ("report", "ReportContent"),
        "ReportWriter": (_CALLBACKS, "ReportWriter"),
        "report_verdicts": ("report", "report_results"),
    },
    "storage": {name: (_CALLBACKS, name) for name in ("AtomicCheckpointIO", "AtomicCheckpoints", "ResultsFolder")},
    "synthetic": {
        "in_other_conditions": ("synthetic", "perturb"),
        "in_other_light": ("synthetic", "change_brightness"),
    },
}


def renamed(package: str, load: Callable[[str], Any] | None = None) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for a room, which finds its old names and warns.

    Args:
        package: Full name of the room.
        load: The room's own ``__getattr__``, if it has one.
    """

    def find(name: str) -> Any:
        room, new = _NAMES[package.removeprefix("rd_plugin.")].get(name, ("", ""))
        if new:
            text = f"{package}.{name} is now rd_plugin.{room}.{new}; the old name works until version 0.4."
            warnings.warn(text, DeprecationWarning, stacklevel=2)
            return getattr(import_module(f"rd_plugin.{room}"), new)
        if load is not None:
            return load(name)
        msg = f"module {package!r} has no attribute {name!r}"
        raise AttributeError(msg)

    return find
