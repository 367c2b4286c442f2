# SPDX-License-Identifier: Apache-2.0
"""What a look at an image or mask file tells."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image, UnidentifiedImageError

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
        deep: Whether it holds more than 8 bits a channel, of which the upper 8 are read.
        orientation: How it is to be turned before it is shown, by its EXIF data; 1 for not at all.
        frames: Number of images in the file, of which the first is read.
        error: Why it cannot be read, or ``None`` if it can.
    """

    digest: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    blank: bool = False
    deep: bool = False
    orientation: int = 1
    frames: int = 1
    error: str | None = None


def _orientation(image: Image.Image) -> int:
    """How an image that is loaded is still to be turned; Pillow itself turns TIFF."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (
        Exception
    ):  # Pillow raises whatever it meets in EXIF data that are damaged, and reads the pixels all the same
        return 1


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
            frames = getattr(image, "n_frames", 1)
            deep = any(";16" in str(tile[3]) for tile in image.tile)
            image.load()
            blank = image.getbbox(alpha_only=False) is None
            orientation = _orientation(image)
            return FileFacts(digest, image.width, image.height, image.mode, blank, deep, orientation, frames)
    except UnidentifiedImageError:
        return FileFacts(digest, error="the file is not an image that can be read.")
    except Image.DecompressionBombError as error:
        return FileFacts(digest, error=f"the image is too large to be read ({error}).")
    except (OSError, SyntaxError, ValueError) as error:
        return FileFacts(digest, error=f"the image is damaged ({error}).")
