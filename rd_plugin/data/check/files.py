# SPDX-License-Identifier: Apache-2.0
"""What an image or mask file holds."""

import hashlib
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from rd_plugin.storage import is_address, local_copy

__all__ = ["MAX_PIXELS", "FileFacts", "allow_pixels", "inspect_file", "read_file"]

# Pillow's own bound, beyond which it takes an image for a decompression bomb: half a gibibyte in RGB.
MAX_PIXELS = 2 * (2**30 // 12)

_CHUNK = 2**20

Made = TypeVar("Made")


@dataclass(frozen=True)
class FileFacts:
    """What one file holds.

    Args:
        digest: Hash of its bytes; empty if it was not requested.
        pixels: Hash of its first image's size, mode and pixels, which another format or other metadata do not change;
            empty if it was not requested.
        width: Width in pixels; 0 if it cannot be read.
        height: Height in pixels; 0 if it cannot be read.
        mode: Pillow's name of its pixels' format, such as ``"RGB"`` or ``"I;16"``.
        deep: Whether it holds more than 8 bits a channel, of which the upper 8 are read.
        orientation: How it is to be turned before it is shown, by its EXIF data; 1 for not at all.
        frames: Number of images in the file, of which the first is read.
        marked: Share of pixels that it marks as a mask, as anomalib reads masks: above 0 when converted to grey;
            ``None`` if it was not requested.
        hidden: Share of pixels that it marks by that rule though its alpha channel, which is not read, hides them;
            ``None`` if it was not requested.
        contrast: Standard deviation of its grey values, which run from 0 to 255; ``None`` if it was not requested.
        error: Why it cannot be read, or ``None`` if it can.
    """

    digest: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    deep: bool = False
    orientation: int = 1
    frames: int = 1
    pixels: str = ""
    marked: float | None = None
    hidden: float | None = None
    contrast: float | None = None
    error: str | None = None


def _digest(path: Path) -> str:
    """Hash of a file's bytes, read piece by piece."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def _hash_pixels(image: Image.Image) -> str:
    """Hash of an image that is loaded; a palette's colours count, not their order."""
    shown = image.convert("RGBA") if image.mode in {"P", "PA"} else image
    digest = hashlib.blake2b(f"{shown.mode} {shown.size}".encode(), digest_size=16)
    digest.update(shown.tobytes())
    return digest.hexdigest()


def _content(image: Image.Image) -> dict[str, Any]:
    """What the pixels of an image that is loaded say; it is converted to grey as anomalib converts masks."""
    grey = np.asarray(image.convert("L"))
    marked = grey > 0
    hidden = 0.0
    if image.has_transparency_data:
        hidden = float((marked & (np.asarray(image.convert("RGBA").getchannel("A")) == 0)).mean())
    pixels = _hash_pixels(image)
    return {"pixels": pixels, "marked": float(marked.mean()), "hidden": hidden, "contrast": float(grey.std())}


def _orientation(image: Image.Image) -> int:
    """How an image that is loaded is still to be turned; Pillow itself turns TIFF."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises what it meets in EXIF data that are damaged, and reads the pixels all the same
        return 1


def allow_pixels(max_pixels: int) -> None:
    """Let Pillow, and with it anomalib's readers, open images of that many pixels; never fewer than before.

    Args:
        max_pixels: Maximum number of pixels in an image.

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
        max_pixels: Maximum number of pixels that are decoded; see :func:`allow_pixels` for more than Pillow's bound.
    """
    try:
        with local_copy(path) as file:
            return _inspect(file, max_pixels)
    except OSError as error:  # of an address
        return FileFacts(error=f"the file cannot be read ({error.strerror}).")


def _inspect(path: Path, max_pixels: int) -> FileFacts:
    if refusal := _refusal(path):
        return FileFacts(error=refusal)
    try:
        digest = _digest(path)
    except OSError as error:
        return FileFacts(error=f"the file cannot be read ({error.strerror}).")
    facts, content = _decode(path, max_pixels, _content)
    return replace(facts, digest=digest, **(content or {}))


def read_file(image: str | Path | bytes, max_pixels: int = MAX_PIXELS) -> tuple[FileFacts, np.ndarray | None]:
    """Read an image as anomalib's readers do, and say what the file holds; it is decoded once.

    Args:
        image: Path of an image, or the content of its file.
        max_pixels: As in :func:`inspect_file`.

    Returns:
        The facts, without hashes and contents, and 8-bit RGB pixels of shape ``(H, W, 3)``; ``None`` if there is an
        error.
    """
    if not isinstance(image, bytes) and is_address(image):
        try:
            with local_copy(image) as copy:
                return read_file(copy, max_pixels)
        except OSError as error:
            return FileFacts(error=f"the file cannot be read ({error.strerror})."), None
    path = None if isinstance(image, bytes) else Path(image)
    if refusal := _refusal(path) if path else None if image else "the file is empty.":
        return FileFacts(error=refusal), None
    file = path or BytesIO(cast("bytes", image))
    return _decode(file, max_pixels, lambda opened: np.asarray(opened.convert("RGB")))


def _refusal(path: Path) -> str | None:
    """Why a file is not to be decoded, if that is known without decoding."""
    try:
        status = path.stat()
        # Reading a pipe or a device may never end.
        if not stat.S_ISREG(status.st_mode) and not path.is_dir():
            return "it is not a file, but a device, pipe or socket."
        with path.open("rb") as file:
            return None if file.read(1) else "the file is empty."
    except FileNotFoundError:
        return "the file does not exist."
    except OSError as error:
        return f"the file cannot be read ({error.strerror})."


def _decode(file: Path | BytesIO, max_pixels: int, use: Callable[[Image.Image], Made]) -> tuple[FileFacts, Made | None]:
    """Decode a file's first image; return facts, without hashes and contents, and what was made of the image."""
    try:
        with Image.open(file) as image:
            if image.format == "EPS":
                return FileFacts(error="the file holds PostScript, a program, which is not run."), None
            if image.width * image.height > max_pixels:
                size = f"{image.width:,} x {image.height:,} pixels, max_pixels is {max_pixels:,}"
                return FileFacts(error=f"the image is too large to be read ({size})."), None
            frames = int(getattr(image, "n_frames", 1))
            deep = any(";16" in str(tile[3]) for tile in image.tile)
            image.load()
            orientation = _orientation(image)
            facts = FileFacts("", image.width, image.height, image.mode, deep, orientation, frames)
            return facts, use(image)
    except UnidentifiedImageError:
        return FileFacts(error="the file is not an image that can be read."), None
    except Image.DecompressionBombError as error:
        return FileFacts(error=f"the image is too large to be read ({error}; max_pixels allows for more)."), None
    except Exception as error:  # Pillow's decoders raise whatever they meet in damaged files
        return FileFacts(error=f"the image is damaged ({error or type(error).__name__})."), None
