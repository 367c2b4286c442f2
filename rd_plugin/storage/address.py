# SPDX-License-Identifier: Apache-2.0
"""Files and folders at an address that fsspec knows, such as ``s3://bucket/parts``.

fsspec finds what else an address needs, such as s3fs and credentials: credentials are in the environment.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

__all__ = ["file_system", "is_address", "local_file", "make_folder", "read_address"]

# Addresses of cameras and web pages, which FFmpeg opens.
_STREAMS = {"http", "https"}


def is_address(path: object) -> bool:
    """Return whether a path is an address of a file or folder, rather than a local path or a stream.

    Example:
        >>> [is_address(path) for path in ("s3://bucket/a.png", "file:///a.png", "rtsp://camera/1", "a.png")]
        [True, True, False, False]
    """
    protocol, found, _ = str(path).partition("://")
    if not found or protocol in _STREAMS:
        return False
    try:
        from fsspec import available_protocols
    except ModuleNotFoundError:  # of a station
        return False
    return protocol in available_protocols()


def file_system(place: str | Path) -> tuple[Any, str]:
    """Return the file system of an address or a local path, and the path within it.

    Args:
        place: The address or path.

    Raises:
        ImportError: If a package is missing; the message names it.
        OSError: If the file system cannot be used.
    """
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(str(place))
    except ImportError as error:
        msg = f"{str(place)!r} needs another package: {error}"
        raise ImportError(msg) from error
    except Exception as error:  # each file system raises errors of its own types
        msg = f"{str(place)!r} cannot be used: {error}"
        raise OSError(msg) from error


def make_folder(place: str | Path) -> None:
    """Make a folder on a disk; in object storage there are none, and a misspelt bucket must not be made.

    Args:
        place: Path or address of the folder.
    """
    from fsspec.implementations.local import LocalFileSystem

    files, path = file_system(place)
    if isinstance(files, LocalFileSystem):
        files.makedirs(path, exist_ok=True)


def read_address(address: str) -> bytes:
    """Read a file.

    Args:
        address: Its address.

    Raises:
        OSError: If it cannot be read; with a reason of one line.
    """
    files, path = file_system(address)
    try:
        return files.cat_file(path)
    except FileNotFoundError as error:
        msg = "the file does not exist."
        raise OSError(msg) from error
    except Exception as error:  # likewise
        msg = f"the file cannot be read ({' '.join(str(error).split()) or type(error).__name__})."
        raise OSError(msg) from error


@contextmanager
def local_file(address: str, argument: str, resumed: bool = False, replaced: bool = False) -> Iterator[Path]:
    """Yield a local file that is copied to an address at the end of the block, also if the block fails.

    Object storage takes whole files only, so that lines cannot be added to one.

    Args:
        address: The address.
        argument: The argument that gives it, for messages.
        resumed: Whether the file is copied from the address first, if it exists.
        replaced: Whether the address may hold a file already.

    Raises:
        FileExistsError: If the address holds a file that is neither resumed nor replaced.
        OSError: If it cannot be read or written.
    """
    files, path = file_system(address)
    with TemporaryDirectory(prefix="rd-plugin-") as folder:
        local = Path(folder, Path(path).name)
        if (resumed or not replaced) and files.exists(path):
            if not resumed:
                msg = f"{argument} {address!r} exists already; give another address, or replace it with --overwrite."
                raise FileExistsError(msg)
            files.get_file(path, str(local))
        try:
            yield local
        finally:
            if local.is_file():
                make_folder(address.rpartition("/")[0])
                files.put_file(str(local), path)
