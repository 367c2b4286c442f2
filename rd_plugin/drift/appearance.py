# SPDX-License-Identifier: Apache-2.0
"""A few statistics of an image that change with lighting, focus, camera and material."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from rd_plugin.data.check import MAX_PIXELS, read_file

__all__ = ["STATISTICS", "file_statistics", "image_statistics"]

STATISTICS = (
    "brightness",
    "contrast",
    "dark tones",
    "middle tones",
    "bright tones",
    "red against green",
    "blue against green",
    "brightness from left to right",
    "brightness from top to bottom",
    "sharpness",
    "sharpness at a quarter of the size",
    "noise",
    "upright edges against level ones",
    "share of black",
    "share of white",
)

# Maximum number of pixels that are used: bands from edge to edge, which keep the file's sharpness.
_PIXELS, _BANDS = 2**18, 8
# Maximum number of rows and columns for brightness, colour and position.
_SMALL = 128
# Grey values up to which a pixel counts as black, and from which as white.
_BLACK, _WHITE = 2, 253
_DECIMALS = 4
_QUANTILES = (0.05, 0.5, 0.95)
# Differences of neighbours that leave out edges along rows and columns (Immerkaer 1996, with half its mask).
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
# Added to grey values, so that the logarithm of zero is defined.
_FLOOR = 0.1


def image_statistics(image: np.ndarray) -> np.ndarray:
    """Compute the statistics of an image.

    Multiplicative quantities, such as contrast and sharpness, are logarithms. Sharpness and noise are measured on at
    most a quarter of a million pixels in the file's own size, so that large images take no longer.

    Args:
        image: 8-bit RGB pixels of shape ``(H, W, 3)``.

    Returns:
        Statistics of shape ``(15,)``, named in ``STATISTICS``: grey values from 0 to 255, shares from 0 to 1, or
        logarithms, rounded to four decimals.

    Example:
        >>> dark, bright = (image_statistics(np.full((8, 8, 3), level, np.uint8)) for level in (50, 100))
        >>> float(bright[0] - dark[0])
        50.0
    """
    grey = cv2.cvtColor(_bands(image), cv2.COLOR_RGB2GRAY)
    counts = np.cumsum(cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel(), dtype=np.float64)
    shares = counts / counts[-1]
    few = image[:: -(-image.shape[0] // _SMALL), :: -(-image.shape[1] // _SMALL)].astype(np.float32)
    level = few.mean(2)
    red, green, blue = np.log(few.mean((0, 1)) + 1)
    rows, columns = (np.linspace(-2, 2, length) if length > 1 else np.zeros(1) for length in level.shape)
    quarter = cv2.resize(grey, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA) if min(grey.shape) >= 4 else grey
    across, along = (cv2.Sobel(grey, cv2.CV_16S, *order, ksize=1) for order in ((1, 0), (0, 1)))
    values = np.array(
        [
            level.mean(),
            _log(cv2.meanStdDev(grey)[1].item()),
            *np.searchsorted(shares, _QUANTILES),
            red - green,
            blue - green,
            level.mean(0) @ columns / len(columns),
            level.mean(1) @ rows / len(rows),
            _log(_size(cv2.Laplacian(grey, cv2.CV_16S))),
            _log(_size(cv2.Laplacian(quarter, cv2.CV_16S))),
            _log(_size(cv2.filter2D(grey, cv2.CV_16S, _NOISE))),
            _log(_size(across)) - _log(_size(along)),
            shares[_BLACK],
            1 - shares[_WHITE - 1],
        ]
    )
    return np.round(values, _DECIMALS)


def file_statistics(paths: Iterable[str], max_pixels: int = MAX_PIXELS) -> dict[str, np.ndarray]:
    """Compute the statistics of image files, several at a time.

    Args:
        paths: The files.
        max_pixels: Maximum number of pixels in an image.

    Returns:
        Statistics by path; files that cannot be read are left out.
    """

    def look(path: str) -> tuple[str, np.ndarray | None]:
        _, pixels = read_file(path, max_pixels)
        return path, None if pixels is None else image_statistics(pixels)

    with ThreadPoolExecutor() as pool:
        return {path: statistics for path, statistics in pool.map(look, paths) if statistics is not None}


def _bands(image: np.ndarray) -> np.ndarray:
    """The image, or bands of it from top to bottom, one below the other."""
    height, width = image.shape[:2]
    rows = max(_PIXELS // (width * _BANDS), 4)
    if rows * _BANDS >= height:
        return image
    starts = np.linspace(0, height - rows, _BANDS).astype(int)
    return np.concatenate([image[start : start + rows] for start in starts])


def _size(values: np.ndarray) -> float:
    """Mean absolute value."""
    return cv2.norm(values, cv2.NORM_L1) / values.size


def _log(value: float) -> float:
    return float(np.log(value + _FLOOR))
