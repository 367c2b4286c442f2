# SPDX-License-Identifier: Apache-2.0
"""Images at addresses that fsspec knows, such as those of object storage."""

import logging
from collections.abc import Iterator
from glob import has_magic

from rd_plugin.data.image_files import is_image
from rd_plugin.storage import file_system, printable

from .source import Source

__all__ = ["MASKS", "find_remote"]

logger = logging.getLogger(__name__)

# Folders of masks, with the folders next to them in such a data set: a PartsFolder's, and MVTec AD's.
MASKS = {"mask": ("good", "defect"), "ground_truth": ("test", "train")}


def find_remote(address: str) -> Iterator[Source]:
    """Find the images that an address leads to, one folder at a time, so that few names are in memory.

    Args:
        address: A file, taken whatever its name ends in; a folder, searched at any depth, without hidden files and the
            masks of a data set; or a pattern such as ``"s3://bucket/parts/**/*.png"``.

    Yields:
        The images by their whole addresses, in the order of their names within each folder.

    Raises:
        ImportError: If a package is missing, such as s3fs.
        OSError: If the address cannot be listed.
    """
    files, root = file_system(address)
    protocol = address.partition("://")[0]
    count = masks = 0
    try:
        if has_magic(root):
            paths = iter(sorted(path for path in files.glob(root) if is_image(path)))
            if (first := next(paths, None)) is None:
                yield Source(address, "no file fits the pattern.")
                return
            yield Source(f"{protocol}://{first}")
            yield from (Source(f"{protocol}://{path}") for path in paths)
            return
        if not files.isdir(root):
            yield Source(address)
            return
        for place, folders, names in files.walk(root):
            kept = [name for name in folders if not name.startswith(".")]
            left = [name for name in kept if not any(beside in folders for beside in MASKS.get(name, ()))]
            masks += len(kept) - len(left)
            folders[:] = sorted(left)
            for name in sorted(names):
                if is_image(name) and not name.startswith("."):
                    count += 1
                    yield Source(f"{protocol}://{place.rstrip('/')}/{name}")
    except OSError:
        raise
    except Exception as error:  # each file system raises errors of its own types
        msg = f"{address!r} cannot be listed: {error}"
        raise OSError(msg) from error
    if masks:
        logger.info("%s: folders of masks are left out; name them to inspect them.", printable(address))
    if not count:
        yield Source(address, "the folder contains no image.")
