# SPDX-License-Identifier: Apache-2.0
"""Files that are there whole or not at all, whatever stops the program that writes them.

A file is written under another name in the folder that it belongs to and renamed when it is complete. Renaming within a
file system is atomic (POSIX ``rename``; :func:`os.replace`); moving a file there from the system's folder for temporary
files is not, since that is often on another disk. What a killed program leaves half-written is hidden, with a name that
ends in ``.partial``, and may be deleted.
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

# A disk with less space than this is taken to be full: the writers fill it to its last block.
_FULL_BELOW = 2**20


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Give a name to write a file under, and rename it to ``path`` at the end of the block.

    If the block fails, what was at ``path`` before stays as it was.

    Args:
        path: The file, in a folder that exists.

    Yields:
        The path to write to.

    Raises:
        OSError: If the file cannot be written; with ``path`` as its file name.

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
            # Some file systems rename before they write, and tell of a full disk only now.
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        # A failed write does not know its file, and nobody knows the partial one.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def move_files(source: Path, target: Path, last: Path | None = None) -> None:
    """Move what is in a folder to the same places in another one on the same file system.

    Args:
        source: Folder, at any depth; need not exist.
        target: Folder that takes the files, over files of the same name.
        last: That of the files which refers to the others. What is in its place is removed first, and it is moved last,
            so that it never stands beside files that are not its own.
    """
    files = sorted((path for path in source.rglob("*") if path.is_file()), key=lambda path: path == last)
    if last is not None and len(files) > 1:
        (target / last.relative_to(source)).unlink(missing_ok=True)
    for file in files:
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(place)


def atomic_export(export: Callable[..., Path], root: str | Path, *args: Any, **kwargs: Any) -> Path:
    """Call a function that writes one or more files into a folder, and put them there when all are complete.

    Args:
        export: Takes the folder and returns the file that is to be opened, such as OpenVINO's ``.xml``.
        root: The folder; made if it is not there.
        *args: Passed on to ``export``.
        **kwargs: Passed on to ``export``.

    Returns:
        Path of the file in ``root``.

    Raises:
        OSError: If ``root`` cannot be written to, or its disk has filled up; what was there before is kept.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".export.", suffix=".partial", dir=root) as folder:
        try:
            path = export(folder, *args, **kwargs)
        except Exception as error:
            # torch's and OpenVINO's writers do not say why they failed, ONNX's not where.
            if shutil.disk_usage(folder).free < _FULL_BELOW:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(root)) from error
            raise
        move_files(Path(folder), root, last=path)
        return root / path.relative_to(folder)
