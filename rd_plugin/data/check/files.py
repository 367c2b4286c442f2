# SPDX-License-Identifier: Apache-2.0
"""What a look at an image or mask file tells."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

__all__ = ["FileFacts", "inspect_file"]


@dataclass(frozen=True)
class FileFacts:
    """What one file holds.

    Args:
        digest: Hash of its bytes.
        width: Width in pixels; 0 if it cannot be read.
        height: Height in pixels; 0 if it cannot be read.
        mode: Pillow's name of its pixels' format, such as ``"RGB"`` or ``"I;16"``.
        blank: Whether all pixels are zero.
        error: Why it cannot be read, or ``None`` if it can.
    """

    digest: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    blank: bool = False
    error: str | None = None


def inspect_file(path: str | Path) -> FileFacts:
    """Read and decode a file completely, once.

    Args:
        path: An image or mask.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return FileFacts(error="the file does not exist.")
    except OSError as error:
        return FileFacts(error=f"the file cannot be read ({error.strerror}).")
    if not content:
        return FileFacts(error="the file is empty.")
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            blank = image.getbbox(alpha_only=False) is None
            return FileFacts(digest, image.width, image.height, image.mode, blank)
    except UnidentifiedImageError:
        return FileFacts(digest, error="the file is not an image that can be read.")
    except (OSError, SyntaxError, ValueError) as error:
        return FileFacts(digest, error=f"the image is damaged ({error}).")
