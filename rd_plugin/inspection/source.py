# SPDX-License-Identifier: Apache-2.0
"""What an image is read from."""

from dataclasses import dataclass, field

import numpy as np

from rd_plugin.storage import is_address, read_address

__all__ = ["Source"]


@dataclass(frozen=True)
class Source:
    """A path that leads to an image, or does not.

    Args:
        path: The file, or what was given.
        missing: Why there is no file; empty if there may be one.
        content: The file's content, if it is in memory; the path is then only a name.
        pixels: 8-bit RGB pixels of shape ``(H, W, 3)``, if they are decoded already; likewise.
        part_id: Name of the part that the image shows; ``None`` to find it in the file's name.
    """

    path: str
    missing: str = ""
    content: bytes | None = field(default=None, repr=False)
    pixels: np.ndarray | None = field(default=None, repr=False, compare=False)
    part_id: str | None = None

    def to_decode(self) -> str | bytes:
        """Return what is decoded: a file's path, or the content if it is in memory or at an address.

        Raises:
            OSError: If an address cannot be read.
        """
        if self.content is not None:
            return self.content
        return read_address(self.path) if is_address(self.path) else self.path
