# SPDX-License-Identifier: Apache-2.0
"""The content of folders of images, on a disk or at an address that fsspec supports."""

import hashlib
from collections import Counter
from pathlib import Path

from rd_plugin.storage import file_system, is_address

from .image_files import FoundImages, find_image_files, is_hidden, is_image

__all__ = ["FolderTree", "RemoteTree", "folder_tree"]


class FolderTree:
    """A folder on a disk.

    Args:
        root: The folder.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def is_folder(self, path: Path) -> bool:
        """Return whether there is a folder of this path, which begins with :attr:`root`."""
        return path.is_dir()

    def folders(self, path: Path) -> list[Path]:
        """Return the folders in a folder, sorted, but for hidden ones."""
        return sorted(inner for inner in path.iterdir() if inner.is_dir() and not inner.name.startswith("."))

    def find(self, path: Path) -> FoundImages:
        """Return the image files in a folder, as :func:`~rd_plugin.data.image_files.find_image_files` does."""
        return find_image_files(path)

    def name(self, path: Path) -> str:
        """Return what a file is opened by."""
        return str(path)


class RemoteTree(FolderTree):
    """A folder at an address, listed once.

    Args:
        root: The address, such as ``"s3://bucket/parts"``.

    Raises:
        OSError: If it cannot be listed; the message says why.
    """

    def __init__(self, root: str) -> None:
        try:
            system, place = file_system(root)
            listed = system.find(place, detail=True)
        except Exception as error:  # each file system has errors of its own
            msg = f"data.root {root!r} cannot be listed: {' '.join(str(error).split()) or type(error).__name__}"
            raise OSError(msg) from error
        self._address, self.root = root.rstrip("/"), Path(place)
        self._files = {Path(name): facts for name, facts in sorted(listed.items())}
        self._folders = {folder for file in self._files for folder in file.parents if folder.is_relative_to(self.root)}

    def is_folder(self, path: Path) -> bool:
        """Return whether there is a file in a folder of this path."""
        return path in self._folders

    def folders(self, path: Path) -> list[Path]:
        """Return the folders in a folder, sorted, but for hidden ones."""
        return sorted(inner for inner in self._folders if inner.parent == path and not inner.name.startswith("."))

    def find(self, path: Path) -> FoundImages:
        """Return the image files in a folder, at any depth, without hidden ones."""
        files, left_out = list[Path](), Counter[str]()
        for file in self._files:
            if not file.is_relative_to(path):
                continue
            if is_hidden(file, path):
                left_out["hidden"] += 1
            elif is_image(file):
                files.append(file)
            else:
                left_out[file.suffix or "without extension"] += 1
        return FoundImages(files, left_out)

    def name(self, path: Path) -> str:
        """Return the address of a file."""
        return f"{self._address}/{path.relative_to(self.root).as_posix()}"

    def size(self, path: Path) -> int:
        """Return the size of a file in bytes."""
        return int(self._files[path]["size"])

    def version(self, path: Path) -> str:
        """Return a name that differs for each file and each state of it."""
        facts = f"{self.name(path)} {self._files[path]}"
        return hashlib.sha256(facts.encode()).hexdigest() + path.suffix


def folder_tree(root: str | Path) -> FolderTree:
    """Return what a folder holds, on a disk or at an address."""
    return RemoteTree(str(root)) if is_address(root) else FolderTree(root)
