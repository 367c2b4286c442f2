# SPDX-License-Identifier: Apache-2.0
"""Atomic writing: files are complete or do not exist, even if the writing program is killed.

A file is written under another name in its own folder and renamed when it is complete. Renaming within a file system is
atomic (POSIX ``rename``; :func:`os.replace`). Moving a file from the system's folder for temporary files is not, since
that folder is often on another disk. A killed program may leave an incomplete file, which is hidden and has a name that
ends in ``.partial``; it may be deleted.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

__all__ = ["atomic_export", "atomic_file", "move_files"]

# A disk with less space than this counts as full: the writers fill it to its last block.
_FULL_BELOW = 2**20


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name for a file, and rename it to ``path`` at the end of the block.

    If the block fails, an existing file at ``path`` is kept.

    Args:
        path: The file, in a folder that exists.

    Yields:
        The path to write to.

    Raises:
        OSError: If the file cannot be written; its file name is ``path``.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> with atomic_file(folder / "record.json") as partial:
        ...     _ = partial.write_text("{}")
        >>> [path.name for path in folder.iterdir()]
        ['record.json']
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            # Some file systems write after they rename, and report a full disk only now.
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        # A failed write does not name its file, and users do not know the partial file.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def move_files(source: Path, target: Path, last: Path | None = None) -> None:
    """Move all files in a folder to the same places in another folder on the same file system.

    Args:
        source: Folder, at any depth; need not exist.
        target: Folder for the files; files of the same name are replaced.
        last: The file that refers to the others. Its old version is removed first, and it is moved last, so that it
            never refers to files that do not belong to it.
    """
    files = sorted((path for path in source.rglob("*") if path.is_file()), key=lambda path: path == last)
    if last is not None and len(files) > 1:
        (target / last.relative_to(source)).unlink(missing_ok=True)
    for file in files:
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(place)


def atomic_export(export: Callable[..., Path], root: str | Path, *args: Any, **kwargs: Any) -> Path:
    """Call a function that writes files into a folder, and move them there when all are complete.

    Args:
        export: Takes the folder and returns the main file, such as OpenVINO's ``.xml``.
        root: The folder; it is made if necessary.
        *args: Passed on to ``export``.
        **kwargs: Passed on to ``export``.

    Returns:
        Path of the file in ``root``.

    Raises:
        OSError: If ``root`` cannot be written to, or its disk is full; existing files are kept.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".export.", suffix=".partial", dir=root) as folder:
        try:
            path = export(folder, *args, **kwargs)
        except Exception as error:
            # torch's and OpenVINO's writers do not report why they failed, ONNX's does not report where.
            if shutil.disk_usage(folder).free < _FULL_BELOW:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(root)) from error
            raise
        move_files(Path(folder), root, last=path)
        return root / path.relative_to(folder)
