# SPDX-License-Identifier: Apache-2.0
"""Image files that a user names: one by one, by folder or by pattern."""

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

__all__ = ["find_images"]


def _within(folder: str) -> list[str]:
    """Image files in a folder at any depth, in order."""
    return sorted(str(path) for path in Path(folder).rglob("*") if path.suffix.lower() in IMG_EXTENSIONS)


def find_images(paths: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Find the images that paths lead to, each once.

    Args:
        paths: Files, taken whatever their names end in; folders, searched at any depth for names that end as images'
            do; and patterns such as ``"parts/*.png"``, with ``**`` for any depth.

    Yields:
        A file and ``None``, or a path that leads to no file and the reason.
    """
    found: set[str] = set()
    for given in paths:
        places = [given]
        # A file may be called "a[1].png".
        if not Path(given).exists() and glob.has_magic(given):
            places = sorted(glob.glob(given, recursive=True))  # noqa: PTH207  # Path.glob takes no absolute pattern
            if not places:
                yield given, "no file fits the pattern."
        for place in places:
            files = _within(place) if Path(place).is_dir() else [place]
            if not files:
                yield place, "the folder holds no image."
            for file in files:
                if file not in found:
                    found.add(file)
                    yield file, None
