# SPDX-License-Identifier: Apache-2.0
"""Every file looked at once, and remembered while it is unchanged."""

import json
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path

from tqdm import tqdm

from rd_plugin.storage import atomic_file

from .files import FileFacts, inspect_file

__all__ = ["inspect_files"]

logger = logging.getLogger(__name__)

_FACTS = {field.name for field in fields(FileFacts)}


def _stamp(path: str) -> list[int] | None:
    """What changes with a file: its size and time of change; ``None`` if it is not there."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _read(memory: Path | None) -> dict[str, dict]:
    """What an earlier survey found; nothing if it cannot be read."""
    if memory is None or not memory.is_file():
        return {}
    try:
        found = json.loads(memory.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(memory: Path, entries: dict[str, dict]) -> None:
    """Keep what was found, whole or not at all; a folder that cannot be written to costs a survey, not the run."""
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(memory) as partial:
            partial.write_text(json.dumps(entries))
    except OSError as error:
        logger.warning("The data check's result could not be kept in %s (%s).", memory, error.strerror)


def inspect_files(paths: Iterable[str], memory: Path | None = None) -> dict[str, FileFacts]:
    """Look at files in parallel, with a progress bar on a terminal.

    Args:
        paths: Images and masks.
        memory: File that keeps the result; files whose size and time of change stand in it are not read again.

    Returns:
        What each file holds, by path.
    """
    known = _read(memory)
    wanted = list(dict.fromkeys(paths))
    stamps = {path: _stamp(path) for path in wanted}
    facts: dict[str, FileFacts] = {}
    for path, stamp in stamps.items():
        entry = known.get(path)
        if stamp is None or not isinstance(entry, dict) or entry.get("stamp") != stamp:
            continue
        # An earlier version looked at less.
        if entry["facts"].keys() == _FACTS:
            facts[path] = FileFacts(**entry["facts"])
    todo = [path for path in wanted if path not in facts]
    with ThreadPoolExecutor() as pool:
        results = pool.map(inspect_file, todo)
        # Shown on a terminal only, and gone when it is done.
        facts |= zip(todo, tqdm(results, "Checking the data", len(todo), leave=False, disable=None), strict=True)
    if memory is not None and todo:
        new = {path: {"stamp": stamps[path], "facts": asdict(facts[path])} for path in todo if stamps[path]}
        _write(memory, known | new)
    return facts
