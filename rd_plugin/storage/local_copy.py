# SPDX-License-Identifier: Apache-2.0
"""Files at addresses that fsspec knows, such as ``s3://bucket/parts/1.png``, read as files on the disk."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from .address import file_system, is_address
from .atomic import atomic_file

__all__ = ["local_copy"]


@contextmanager
def local_copy(path: str | Path, kept: Path | None = None) -> Iterator[Path]:
    """Yield a file on the disk: the file itself, or a copy of what is at an address.

    Args:
        path: The file's path or address.
        kept: Where the copy of a remote file is kept, complete or not at all, so that it is copied once; by default it
            is deleted at the end of the block.

    Yields:
        The file, which must not be changed.

    Raises:
        OSError: If there is no file at the address, or it cannot be read.

    Example:
        >>> import fsspec
        >>> with fsspec.open("memory://parts/note.txt", "w") as file:
        ...     _ = file.write("good")
        >>> with local_copy("memory://parts/note.txt") as file:
        ...     file.read_text()
        'good'
    """
    if not is_address(path):
        yield Path(path)
    elif kept is None:
        with TemporaryDirectory(prefix="rd-plugin-") as folder:
            # The name's ending tells Pillow the format.
            file = Path(folder, f"file{Path(path).suffix}")
            _copy(str(path), file)
            yield file
    else:
        if not kept.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(kept) as partial:
                _copy(str(path), partial)
        yield kept


def _copy(address: str, file: Path) -> None:
    try:
        # Anew each time: a connection does not survive a fork, and fsspec keeps one for each process.
        system, place = file_system(address)
        system.get_file(place, str(file))
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "there is no file at this address", address) from error
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), address) from error
    except Exception as error:  # each file system has errors of its own, such as botocore's
        raise OSError(errno.EIO, " ".join(str(error).split()) or type(error).__name__, address) from error
