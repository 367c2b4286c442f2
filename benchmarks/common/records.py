# SPDX-License-Identifier: Apache-2.0
"""Records: one JSON file a run, which holds the run's settings and is found again by them, whatever its name."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rd_plugin.storage import atomic_file

__all__ = ["RESULTS", "Record", "digest", "key", "read", "write"]

# Where records are kept unless another folder is asked for.
RESULTS = Path(__file__).parents[1] / "results"


def key(settings: dict[str, Any]) -> str:
    """Return settings as one text, the same for the same settings in whatever order."""
    return json.dumps(settings, sort_keys=True)


def digest(settings: dict[str, Any]) -> str:
    """Return ten hexadecimal digits that tell settings apart in a file name."""
    return hashlib.sha256(key(settings).encode()).hexdigest()[:10]


@dataclass(frozen=True)
class Record:
    """What a run has left.

    Args:
        file: The JSON file; arrays stand beside it.
        content: What it says: ``settings``, and ``failure`` or what was measured.
    """

    file: Path
    content: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """What the run was made of."""
        return self.content["settings"]

    @property
    def failed(self) -> bool:
        """Whether there is a message in place of figures."""
        return "failure" in self.content

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays beside the record, if there are any."""
        file = self.file.with_suffix(".npz")
        if not file.exists():
            return {}
        with np.load(file) as arrays:
            return dict(arrays)


def read(folder: Path) -> list[Record]:
    """Return all records of a folder and of those in it: oldest first; those without a date by name, before others."""
    records = [Record(file, json.loads(file.read_text())) for file in sorted(folder.rglob("*.json"))]
    return sorted(records, key=lambda record: record.content.get("date", ""))


def write(file: Path, content: dict[str, Any]) -> Record:
    """Write a record, whole or not at all; arrays in its content go to a file beside it."""
    arrays = {name: value for name, value in content.items() if isinstance(value, np.ndarray)}
    record = Record(file, {name: value for name, value in content.items() if name not in arrays})
    file.parent.mkdir(parents=True, exist_ok=True)
    if arrays:
        # Before the record, which says that the run is done.
        with atomic_file(file.with_suffix(".npz")) as partial, partial.open("wb") as stream:
            np.savez_compressed(stream, **arrays)
    with atomic_file(file) as partial:
        partial.write_text(json.dumps(record.content, indent=1))
    return record
