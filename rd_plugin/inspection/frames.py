# SPDX-License-Identifier: Apache-2.0
"""Frames of videos and streams, which FFmpeg decodes."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from rd_plugin.storage import is_address

from .source import Source

__all__ = ["find_frames", "is_stream", "is_video", "newest"]

_SUFFIXES = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"}
# Until an address answers, and between two of its frames.
_SECONDS = 10.0
# How soon the end of a stream, or a stop, is noticed.
_GLANCE = 0.2


def is_stream(path: str) -> bool:
    """Whether a path is the address of a stream, such as ``"rtsp://camera/1"``."""
    return "://" in path and not is_address(path)


def is_video(path: str) -> bool:
    """Whether a path is the address of a stream, or a file whose name ends like that of a video."""
    return is_stream(path) or (Path(path).suffix.lower() in _SUFFIXES and not is_address(path))


def find_frames(path: str, every: int = 1, stop: Event | None = None) -> Iterator[Source]:
    """Decode the frames of a video or a stream, when they are requested.

    A stream does not wait: frames that arrive while the last one is being inspected are skipped, and the newest is
    next.

    Args:
        path: A file, or an address that FFmpeg can open. A user's name and password in it are not part of the names of
            the frames.
        every: Only every n-th frame is taken, beginning with the first.
        stop: When it is set, a stream ends.

    Yields:
        The frames, named ``path#t=seconds``.

    Raises:
        ImportError: If PyAV is not installed.
    """
    frames = _decoded(path, every)
    return newest(frames, stop or Event()) if is_stream(path) else frames


def _decoded(path: str, every: int) -> Iterator[Source]:
    """The frames in their order; an error is the last of them."""
    try:
        import av  # the extra `video`
    except ImportError as error:
        msg = f"{path!r}: videos and streams need PyAV: pip install av."
        raise ImportError(msg) from error
    name = _without_user(path)
    try:
        with av.open(path, timeout=_SECONDS if is_stream(path) else None) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index % every == 0:
                    seconds = index if frame.time is None else frame.time
                    yield Source(f"{name}#t={seconds:.3f}", pixels=frame.to_ndarray(format="rgb24"))
    except (av.error.FFmpegError, IndexError, OSError) as error:
        # PyAV has an index error for a file without a video.
        reason = "it contains no video" if isinstance(error, IndexError) else getattr(error, "strerror", None) or error
        yield Source(name, f"the video cannot be read ({reason}).")


def _without_user(path: str) -> str:
    """An address without a user's name and password."""
    if not is_stream(path):
        return path
    parts = urlsplit(path)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def newest(sources: Iterable[Source], stop: Event) -> Iterator[Source]:
    """Yield the newest source whenever one is requested; those in between are skipped, except errors.

    Args:
        sources: Sources that do not wait, which are read in a thread.
        stop: When it is set, no more are yielded.
    """
    slot: Queue[Source] = Queue(1)
    ended, left = Event(), Event()
    failure: list[Any] = []

    def put(source: Source) -> None:
        while not (stop.is_set() or left.is_set()):
            with suppress(Full):
                slot.put(source, timeout=_GLANCE)
                return

    def read() -> None:
        try:
            for source in sources:
                if stop.is_set() or left.is_set():
                    break
                if not source.missing:
                    with suppress(Empty):
                        slot.get_nowait()
                put(source)
        except Exception as error:  # raised again where sources are asked for
            failure.append(error)
        finally:
            ended.set()

    Thread(target=read, name="stream", daemon=True).start()
    try:
        while not stop.is_set():
            over = ended.is_set()
            try:
                yield slot.get(timeout=_GLANCE)
            except Empty:
                if over:
                    break
        if failure:
            raise failure[0]
    finally:
        left.set()
