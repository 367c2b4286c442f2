# SPDX-License-Identifier: Apache-2.0
"""Every file is read once, and its result is kept while the file is unchanged."""

import json
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

from tqdm import tqdm

from rd_plugin.storage import atomic_file, file_system, is_address

from .files import MAX_PIXELS, FileFacts, inspect_file

__all__ = ["inspect_files"]

logger = logging.getLogger(__name__)

_FIELDS = fields(FileFacts)


def _stamp(path: str) -> list[int] | list[str] | None:
    """What changes with a file, whether or not its size and time are set back; ``None`` if it does not exist."""
    try:
        if is_address(path):
            system, place = file_system(path)
            return [str(system.ukey(place))]
        status = Path(path).stat()
    except Exception:  # file systems of addresses have errors of their own
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _read(memory: Path | None) -> dict[str, dict]:
    """What an earlier survey found; what is not this version's is left out, with a note."""
    if memory is None or not memory.is_file():
        return {}
    try:
        found = json.loads(memory.read_text())
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("%s cannot be read (%s) and is created again.", memory, error)
        return {}
    entries = found if isinstance(found, dict) else {}
    known = {path: entry for path, entry in entries.items() if _is_entry(entry)}
    if entries is not found or len(known) < len(entries):
        logger.warning("%s has content that this version does not know; it is created again.", memory)
    return known


def _is_entry(entry: object) -> bool:
    """Whether an entry of the memory is as :func:`inspect_files` writes it."""
    if not isinstance(entry, dict) or entry.keys() != {"stamp", "facts"} or not isinstance(entry["stamp"], list):
        return False
    facts = entry["facts"]
    return (
        isinstance(facts, dict)
        and facts.keys() == {field.name for field in _FIELDS}
        and all(isinstance(facts[field.name], field.type) for field in _FIELDS)  # type: ignore[arg-type]
    )


def _write(memory: Path, entries: dict[str, dict]) -> None:
    """Keep the results, completely or not at all; a folder that cannot be written to does not stop the run."""
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(memory) as partial:
            partial.write_text(json.dumps(entries))
    except OSError as error:
        logger.warning("The data check's result could not be kept in %s (%s).", memory, error.strerror)


def inspect_files(
    paths: Iterable[str], memory: Path | None = None, max_pixels: int = MAX_PIXELS
) -> dict[str, FileFacts]:
    """Read files in parallel, with a progress bar on a terminal.

    Args:
        paths: Images and masks.
        memory: File that keeps the result; files whose size and times have not changed since are not read again.
        max_pixels: Maximum number of pixels in an image.

    Returns:
        What each file holds, by path.
    """
    known = _read(memory)
    wanted = list(dict.fromkeys(paths))
    stamps = {path: _stamp(path) for path in wanted}
    facts: dict[str, FileFacts] = {}
    for path, stamp in stamps.items():
        if stamp is None or known.get(path, {}).get("stamp") != stamp:
            continue
        remembered = FileFacts(**known[path]["facts"])
        if remembered.width * remembered.height <= max_pixels:
            facts[path] = remembered
    todo = [path for path in wanted if path not in facts]
    with ThreadPoolExecutor() as pool:
        results = pool.map(partial(inspect_file, max_pixels=max_pixels), todo)
        # Shown on a terminal only, and gone when it is done.
        shown = tqdm(results, "Checking the data", len(todo), leave=False, disable=None if todo else True)
        facts |= zip(todo, shown, strict=True)
    if memory is not None and todo:
        # Not what could not be read: that may have had other causes than the file, such as max_pixels.
        good = [path for path in todo if stamps[path] and facts[path].error is None]
        new = {path: {"stamp": stamps[path], "facts": asdict(facts[path])} for path in good}
        _write(memory, known | new)
    return facts
