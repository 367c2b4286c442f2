# SPDX-License-Identifier: Apache-2.0
"""Image files that a user names: one by one, by folder, by pattern or by a list."""

import glob
import logging
from collections.abc import Iterable, Iterator
from os.path import abspath, commonpath
from pathlib import Path
from threading import Event

from rd_plugin.data.image_files import find_image_files
from rd_plugin.storage import is_address, printable

from .frames import find_frames, is_video
from .remote import MASKS, find_remote
from .source import Source

__all__ = ["common_folder", "files_in", "find_images", "is_mask"]

logger = logging.getLogger(__name__)


def is_mask(path: str | Path, folder: str | Path) -> bool:
    """Whether a file within a folder is one of the masks of a data set there."""
    parts = Path(path).relative_to(folder).parts[:-1] if Path(path).is_relative_to(folder) else ()
    return any(
        Path(folder, *parts[:depth], beside).is_dir()
        for depth, name in enumerate(parts)
        for beside in MASKS.get(name, ())
    )


def find_images(
    paths: Iterable[str], listed: Iterable[str] = (), every: int = 1, stop: Event | None = None
) -> Iterator[Source]:
    """Find the images that paths lead to, each once, when they are requested.

    Args:
        paths: Files, taken whatever their names end in; folders, searched at any depth as by
            :func:`~rd_plugin.data.image_files.find_image_files`, without the masks of a data set; patterns such as
            ``"parts/*.png"``, with ``**`` for any depth; addresses of all these, such as ``"s3://bucket/parts"``;
            videos and addresses of streams; and ``"-"`` for what is listed.
        listed: Lines with a path each, such as standard input.
        every: Of a video or stream, only every n-th frame is taken.
        stop: When it is set, streams end.
    """
    found: set[str] = set()
    for given in paths:
        if is_video(given) and not Path(given).is_dir():
            yield from find_frames(given, every, stop)
            continue
        for source in _listed(listed) if given == "-" else _places(given):
            if source.missing or source.path not in found:
                found.add(source.path)
                yield source


def _listed(lines: Iterable[str]) -> Iterator[Source]:
    """What a list holds, while it is being written."""
    for line in lines:
        if path := line.rstrip("\r\n"):
            yield from _places(path)


def _places(given: str) -> Iterator[Source]:
    """What one path leads to."""
    if is_address(given):
        yield from find_remote(given)
        return
    places = [given]
    # A file may be called "a[1].png".
    if not Path(given).exists() and glob.has_magic(given):
        places = sorted(glob.glob(given, recursive=True))  # noqa: PTH207  # Path.glob takes no absolute pattern
        if not places:
            yield Source(given, "no file fits the pattern.")
    for place in places:
        if not Path(place).is_dir():
            yield Source(place)
            continue
        files, left_out = files_in(place)
        for note in left_out:
            logger.info("%s", note)
        if not files:
            yield Source(place, "the folder contains no image.")
        yield from (Source(str(path)) for path in files)


def files_in(folder: str) -> tuple[list[Path], list[str]]:
    """Find the images in a folder, at any depth.

    Returns:
        The files without the masks of a data set, and sentences that count what is left out.
    """
    found = find_image_files(folder)
    files = [path for path in found.files if not is_mask(path, folder)]
    left_out = []
    if masks := len(found.files) - len(files):
        left_out.append(f"{printable(folder)}: {masks} masks are left out; name their folder to inspect them.")
    if found.left_out:
        left_out.append(f"{printable(folder)}: other files are left out ({found.left_out_text}).")
    return files, left_out


def common_folder(paths: Iterable[str]) -> Path:
    """Return the innermost folder that contains all paths; for a list, the current one.

    Example:
        >>> common_folder(["/parts/cam1/*.png", "/parts/cam2"])
        PosixPath('/parts')
    """
    return Path(commonpath(abspath(_folder(Path(path))) for path in paths))  # noqa: PTH100  # follows no links


def _folder(path: Path) -> Path:
    """The folder that a path is, is in, or searches."""
    if str(path) == "-":
        return Path()
    if path.is_dir():
        return path
    folder = path.parent
    while glob.has_magic(str(folder)) and not folder.is_dir():
        folder = folder.parent
    return folder
