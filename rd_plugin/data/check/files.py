# SPDX-License-Identifier: Apache-2.0
"""What a look at an image or mask file tells."""

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image, UnidentifiedImageError

__all__ = ["MAX_PIXELS", "FileFacts", "allow_pixels", "inspect_file"]

# Pillow's own bound, beyond which it takes an image for a decompression bomb: half a gibibyte in RGB.
MAX_PIXELS = 2 * (2**30 // 12)

_CHUNK = 2**20


@dataclass(frozen=True)
class FileFacts:
    """What one file holds.

    Args:
        digest: Hash of its bytes.
        pixels: Hash of its first image's size, mode and pixels, which another format or other metadata do not change.
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
    pixels: str = ""
    error: str | None = None


def _digest(path: Path) -> str | None:
    """Hash of a file's bytes, read piece by piece; ``None`` if there are none."""
    digest, empty = hashlib.blake2b(digest_size=16), True
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
            empty = False
    return None if empty else digest.hexdigest()


def _hash_pixels(image: Image.Image) -> str:
    """Hash of an image that is loaded; a palette's colours count, not their order."""
    shown = image.convert("RGBA") if image.mode in {"P", "PA"} else image
    digest = hashlib.blake2b(f"{shown.mode} {shown.size}".encode(), digest_size=16)
    digest.update(shown.tobytes())
    return digest.hexdigest()


def _orientation(image: Image.Image) -> int:
    """How an image that is loaded is still to be turned; Pillow itself turns TIFF."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises what it meets in EXIF data that are damaged, and reads the pixels all the same
        return 1


def allow_pixels(max_pixels: int) -> None:
    """Let Pillow, and with it anomalib's readers, open images of that many pixels; never fewer than before.

    Args:
        max_pixels: Greatest number of pixels in an image.

    Raises:
        ValueError: If ``max_pixels`` is less than 1.
    """
    if max_pixels < 1:
        msg = f"max_pixels must be at least 1, got {max_pixels}."
        raise ValueError(msg)
    # Pillow warns beyond its bound and refuses beyond twice as much.
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, -(-max_pixels // 2))


def inspect_file(path: str | Path, max_pixels: int = MAX_PIXELS) -> FileFacts:
    """Read and decode a file completely, once.

    Whatever the file holds, the answer is facts or a reason. Memory is bounded by ``max_pixels``, not by the file.

    Args:
        path: An image or mask.
        max_pixels: Greatest number of pixels that are decoded; see :func:`allow_pixels` for more than Pillow's bound.
    """
    path = Path(path)
    try:
        # Reading a pipe or a device may never end.
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            return FileFacts(error="it is not a file, but a device, pipe or socket.")
        digest = _digest(path)
    except FileNotFoundError:
        return FileFacts(error="the file does not exist.")
    except OSError as error:
        return FileFacts(error=f"the file cannot be read ({error.strerror}).")
    if digest is None:
        return FileFacts(error="the file is empty.")
    try:
        with Image.open(path) as image:
            if image.format == "EPS":
                return FileFacts(digest, error="the file holds PostScript, a program, which is not run.")
            if image.width * image.height > max_pixels:
                size = f"{image.width:,} x {image.height:,} pixels, max_pixels is {max_pixels:,}"
                return FileFacts(digest, error=f"the image is too large to be read ({size}).")
            frames = int(getattr(image, "n_frames", 1))
            deep = any(";16" in str(tile[3]) for tile in image.tile)
            image.load()
            blank = image.getbbox(alpha_only=False) is None
            orientation = _orientation(image)
            pixels = _hash_pixels(image)
            return FileFacts(digest, image.width, image.height, image.mode, blank, deep, orientation, frames, pixels)
    except UnidentifiedImageError:
        return FileFacts(digest, error="the file is not an image that can be read.")
    except Image.DecompressionBombError as error:
        return FileFacts(digest, error=f"the image is too large to be read ({error}; max_pixels allows for more).")
    except Exception as error:  # Pillow's decoders raise whatever they meet in damaged files
        return FileFacts(digest, error=f"the image is damaged ({error or type(error).__name__}).")
