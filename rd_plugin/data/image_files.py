# SPDX-License-Identifier: Apache-2.0
"""The image files in a folder, found equally by training, check, inspection and watching."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["FoundImages", "check_links", "find_image_files", "is_hidden", "is_image"]

# torchvision's IMG_EXTENSIONS, by which anomalib finds images.
_EXTENSIONS = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
# Files that operating systems create in folders of images.
_LITTER = {"thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class FoundImages:
    """Image files in a folder, and the number of other files.

    Args:
        files: The image files, sorted.
        left_out: Number of other files by kind: ``"hidden"``, an extension, or ``"without extension"``.
    """

    files: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def left_out_text(self) -> str:
        """The other files, for a message, such as ``"2 .txt, 1 hidden"``; empty if there are none."""
        return ", ".join(f"{count} {kind}" for kind, count in sorted(self.left_out.items()))


def is_image(path: str | Path) -> bool:
    """Return whether a file has an image extension, in lower or upper case."""
    return Path(path).suffix.lower() in _EXTENSIONS


def is_hidden(path: str | Path, folder: str | Path) -> bool:
    """Return whether a file in ``folder`` is hidden, or is in a hidden folder within it.

    Example:
        >>> is_hidden("parts/.trash/1.png", "parts"), is_hidden(".data/1.png", ".data")
        (True, False)
    """
    path = Path(path)
    # Some systems report a file under another name of its folder.
    parts = path.relative_to(folder).parts if path.is_relative_to(folder) else (path.name,)
    return any(part.startswith(".") for part in parts)


def find_image_files(folder: str | Path) -> FoundImages:
    """Find the image files in a folder, at any depth.

    Links to folders are followed, and each folder is searched once, under its own name rather than a link's. Hidden
    files and folders are left out. A broken link is listed, so that its reader can name it.

    Returns:
        The files, by paths that begin with ``folder``, in an order that does not depend on the file system.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> for name in ("b.PNG", "a.jpg", ".c.png", "notes.txt"):
        ...     (folder / name).touch()
        >>> found = find_image_files(folder)
        >>> [path.name for path in found.files], found.left_out_text
        (['a.jpg', 'b.PNG'], '1 .txt, 1 hidden')
    """
    files: list[Path] = []
    left_out: Counter[str] = Counter()
    searched: set[str] = set()
    # Folders first, then links to folders.
    waiting = [str(folder)]
    while waiting:
        for place, folders, names in os.walk(waiting.pop(0)):
            if (real := os.path.realpath(place)) in searched:
                folders.clear()
                continue
            searched.add(real)
            inner = [Path(place, name) for name in sorted(folders) if not name.startswith(".")]
            if len(inner) < len(folders):
                left_out["hidden"] += len(folders) - len(inner)
            waiting += [str(path) for path in inner if path.is_symlink()]
            folders[:] = [path.name for path in inner if not path.is_symlink()]
            for name in names:
                if name.startswith("."):
                    left_out["hidden"] += 1
                elif is_image(name):
                    files.append(Path(place, name))
                elif name.lower() not in _LITTER:
                    left_out[Path(name).suffix or "without extension"] += 1
    return FoundImages(sorted(files), left_out)


def check_links(files: Iterable[str | Path]) -> None:
    """Check that no file is a broken link, which anomalib would report without its name.

    Raises:
        FileNotFoundError: If one is; with its name.
    """
    for file in files:
        if not Path(file).exists():
            msg = f"{str(file)!r} is a broken link."
            raise FileNotFoundError(msg)
