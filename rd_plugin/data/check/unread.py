# SPDX-License-Identifier: Apache-2.0
"""Files among a data module's images that are not read."""

import os
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from rd_plugin.data.image_files import find_image_files, is_image

from .problem import Problem

__all__ = ["check_unread"]

# What systems leave in folders of images.
_LITTER = {"thumbs.db", "desktop.ini"}


def check_unread(read: Collection[Path], tested: Collection[Path], root: Path | None) -> list[Problem]:
    """Find files that a data module skips without a message, because of their kind or their folder.

    A file is left out because of its kind if others in its folder are read, and none with its extension. A folder is
    left out if none of its images is read, and test images are read from a folder next to it, or any images from the
    folder that it is in, as where links to folders are not followed. A file of a kind that is read has been left out
    on purpose: a subset, or a split.

    Args:
        read: Images and masks of all splits.
        tested: Images of the test set.
        root: Folder of the data set, where it is known: beyond it no folder is looked into.

    Returns:
        A note for each folder with such files.
    """
    kinds: dict[Path, set[str]] = {}
    for path in read:
        kinds.setdefault(path.parent, set()).add(path.suffix)
    left_out = {
        folder: [path for path in _files(folder) if path.suffix not in known] for folder, known in kinds.items()
    }
    for parent in sorted({path.parent.parent for path in tested}):
        if root is None or not (parent == root or root in parent.parents):
            continue
        for folder in parent.iterdir():
            if folder.is_dir() and not folder.name.startswith(".") and folder not in kinds:
                left_out[folder] = [path for path in _files(folder) if is_image(path)]
    entered = {os.path.realpath(folder) for path in read for folder in path.parents}
    for parent in list(kinds):
        for folder in parent.iterdir():
            if folder.is_dir() and not folder.name.startswith(".") and os.path.realpath(folder) not in entered:
                left_out[folder] = find_image_files(folder).files
    return [_note(folder, files) for folder, files in sorted(left_out.items()) if files]


def _files(folder: Path) -> Iterator[Path]:
    """The files right in a folder, but for those that are hidden or the system's."""
    for path in sorted(folder.glob("*")):
        if not path.name.startswith(".") and path.name.lower() not in _LITTER and path.is_file():
            yield path


def _note(folder: Path, files: list[Path]) -> Problem:
    kinds = Counter(path.suffix or "without extension" for path in files)
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return Problem(
        str(folder), f"{len(files)} files are not read: {listed}; the first is {files[0].relative_to(folder)}.", "note"
    )
