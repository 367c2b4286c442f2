# SPDX-License-Identifier: Apache-2.0
"""Image files as they appear in folders, each when it has been written to its end."""

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event
from time import monotonic

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from rd_plugin.data.image_files import find_image_files, is_hidden, is_image

from .sources import Source, is_mask

__all__ = ["watch"]

# What changes with every write to a file, and when another takes its place.
_Stamp = tuple[int, int, int]


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
    settled: float = 1.0,
    glance: float = 0.1,
    rescan: float = 5.0,
    known: Container[str] = (),
) -> Iterator[Source]:
    """Yield the image files that are in folders, at any depth, and then those that appear, until stopped.

    Masks of a data set are left out, as by :func:`~rd_plugin.inspection.find_images`.

    A file that a program closes, or moves to its place, is yielded at once. One that the system tells nothing of, as on
    network drives, is found by looking, and yielded when its size and time of change have stayed the same for a while.
    A file that is written to again afterwards, or replaced under the same name, is yielded again.

    Args:
        folders: The folders.
        stop: When it is set, the iterator ends.
        settled: For how many seconds a file that is not known to be closed must stay the same.
        glance: Seconds between two looks at files that are being written.
        rescan: Seconds between two looks at the folders themselves, at least; on large ones a tenth of the time is
            spent on it at most.
        known: Files to be left out that are there at the start.
    """
    events: SimpleQueue[tuple[str, bool]] = SimpleQueue()
    observer = Observer()
    for folder in folders:
        observer.schedule(_Events(lambda path, whole: events.put((path, whole)), folder), folder, recursive=True)
    # Before the first look, so that nothing falls between the two.
    observer.start()
    try:
        yielded = {path: stamp for path in _files(folders) if path in known and (stamp := _stamp(path))}
        writing: dict[str, tuple[_Stamp, float]] = {}
        next_scan = monotonic()
        while not stop.is_set():
            closed = _drain(events, glance)
            if (start := monotonic()) >= next_scan:
                there = _files(folders)
                next_scan = monotonic() + max(rescan, 10 * (monotonic() - start))
                for path in yielded.keys() - set(there):
                    del yielded[path]
                closed = {**dict.fromkeys(there, False), **closed}
            for path in sorted({**dict.fromkeys(writing, False), **closed}):
                stamp, now = _stamp(path), monotonic()
                if stamp is None or stamp == yielded.get(path) or any(is_mask(path, folder) for folder in folders):
                    writing.pop(path, None)
                    continue
                before, since = writing.get(path, (None, now))
                since = since if stamp == before else now
                if (closed.get(path) and stamp[0]) or now - since >= settled:
                    writing.pop(path, None)
                    yielded[path] = stamp
                    yield Source(path)
                else:
                    writing[path] = (stamp, since)
    finally:
        observer.stop()
        observer.join()


def _files(folders: Sequence[str]) -> list[str]:
    """The image files that are there."""
    return sorted(str(path) for folder in folders for path in find_image_files(folder).files)


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
