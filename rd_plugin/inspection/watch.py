# SPDX-License-Identifier: Apache-2.0
"""Image files as they appear in folders, each when it is complete."""

import logging
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event
from time import monotonic

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from rd_plugin.data.check import MAX_PIXELS, read_file
from rd_plugin.data.image_files import is_hidden, is_image

from .source import Source
from .sources import files_in, is_mask

__all__ = ["SETTLE", "watch"]

logger = logging.getLogger(__name__)

# For how many seconds a file that cannot be decoded must stay the same before it is damaged rather than incomplete.
SETTLE = 5.0

# What changes with every write to a file, and when another takes its place.
_Stamp = tuple[int, int, int]


@dataclass
class _Writing:
    """A file that may still be written to: its stamp, since when it is the same, and whether decoding was tried."""

    stamp: _Stamp
    since: float = field(default_factory=monotonic)
    tried: bool = False


class _Events(FileSystemEventHandler):
    """Notes files that something happened to.

    Args:
        note: Takes an image file, and whether it has been closed or moved to its place.
        folder: The folder that is watched.
    """

    def __init__(self, note: Callable[[str, bool], None], folder: str) -> None:
        self._note = note
        self._folder = folder

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Note the file that an event is about."""
        if event.is_directory or event.event_type in {"opened", "closed_no_write", "deleted"}:
            return
        whole = event.event_type in {"closed", "moved"}
        path = str(event.dest_path if event.event_type == "moved" else event.src_path)
        if is_image(path) and not is_hidden(path, self._folder):
            self._note(path, whole)


def _stamp(path: str) -> _Stamp | None:
    """Size, time of change and inode of a file; ``None`` if there is none."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def watch(
    folders: Sequence[str],
    stop: Event,
    *,
    settle: float = SETTLE,
    quiet: float = 1.0,
    glance: float = 0.1,
    rescan: float = 5.0,
    known: Container[str] = (),
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Source]:
    """Yield the image files that are in folders, at any depth, and then those that appear, until stopped.

    Masks of a data set are skipped, as by :func:`~rd_plugin.inspection.find_images`. The number of skipped files is
    logged at the start, and at the end if it has changed.

    A file that a program closes, or moves to its place, is yielded at once if it can be decoded. A file
    without a file-system event, as on network drives, is found by a regular search, and yielded when it has not changed
    for a moment. A file that cannot be decoded is tried again whenever it changes, and yielded when it has not changed
    for longer: it may be written in pieces. A file that is written to again afterwards, or replaced under the same
    name, is yielded again.

    Args:
        folders: The folders.
        stop: When it is set, the iterator ends.
        settle: For how many seconds a file that cannot be decoded must stay the same.
        quiet: For how many seconds a file that is not known to be closed must stay the same.
        glance: Seconds between two looks at files that are being written.
        rescan: Seconds between two looks at the folders themselves, at least; on large ones a tenth of the time is
            spent on it at most.
        known: Files that exist at the start and are skipped.
        max_pixels: Maximum number of pixels in an image file.

    Raises:
        ValueError: If ``settle`` is negative.
    """
    if settle < 0:
        msg = f"settle must be at least 0 seconds, got {settle:g}."
        raise ValueError(msg)
    events: SimpleQueue[tuple[str, bool]] = SimpleQueue()
    observer = Observer()
    for folder in folders:
        observer.schedule(_Events(lambda path, whole: events.put((path, whole)), folder), folder, recursive=True)
    # Before the first look, so that nothing falls between the two.
    observer.start()
    try:
        files, left_out = _look(folders)
        _log(left_out)
        yielded = {path: stamp for path in files if path in known and (stamp := _stamp(path))}
        writing: dict[str, _Writing] = {}
        next_scan = monotonic()
        while not stop.is_set():
            closed = _drain(events, glance)
            if (start := monotonic()) >= next_scan:
                there, _ = _look(folders)
                next_scan = monotonic() + max(rescan, 10 * (monotonic() - start))
                for path in yielded.keys() - set(there):
                    del yielded[path]
                closed = {**dict.fromkeys(there, False), **closed}
            for path in sorted({**dict.fromkeys(writing, False), **closed}):
                stamp = _stamp(path)
                if stamp is None or stamp == yielded.get(path) or any(is_mask(path, folder) for folder in folders):
                    writing.pop(path, None)
                    continue
                if path not in writing or stamp != writing[path].stamp:
                    writing[path] = _Writing(stamp)
                if _is_whole(path, writing[path], bool(closed.get(path)), settle, min(quiet, settle), max_pixels):
                    del writing[path]
                    yielded[path] = stamp
                    yield Source(path)
        if (at_last := _look(folders)[1]) != left_out:
            _log(at_last)
        if writing:
            logger.warning("%d files were not complete when the watch ended, and are left out.", len(writing))
    finally:
        observer.stop()
        observer.join()


def _is_whole(path: str, file: _Writing, closed: bool, settle: float, quiet: float, max_pixels: int) -> bool:
    """Whether a file will not be written to any more, as far as can be told."""
    same = monotonic() - file.since
    if same >= settle:
        return True
    if file.tried or not (closed or same >= quiet):
        return False
    file.tried = True
    # What was written to while it was read is tried again.
    return read_file(path, max_pixels)[0].error is None and _stamp(path) == file.stamp


def _look(folders: Sequence[str]) -> tuple[list[str], list[str]]:
    """The existing image files, and the skipped ones."""
    looks = [files_in(folder) for folder in folders]
    return sorted(str(path) for files, _ in looks for path in files), [note for _, notes in looks for note in notes]


def _log(left_out: list[str]) -> None:
    for note in left_out:
        logger.info("%s", note)


def _drain(events: "SimpleQueue[tuple[str, bool]]", seconds: float) -> dict[str, bool]:
    """Wait that long for events; return the image files that they are about, and whether they are whole."""
    found: dict[str, bool] = {}
    with suppress(Empty):
        path, whole = events.get(timeout=seconds)
        while True:
            # Written to again after it was closed, it is not.
            found[path] = whole
            path, whole = events.get_nowait()
    return found
