# SPDX-License-Identifier: Apache-2.0
"""Find the object in an image with a background."""

from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

__all__ = ["ForegroundType", "foreground"]

ForegroundType = Literal["none", "otsu", "grabcut"]

# GrabCut needs seconds on a large image, and finds the same object in a small one.
_GRABCUT_SIDE = 128
_GRABCUT_ROUNDS = 2
# Minimum number of pixels between two borders.
_GRABCUT_LEAST = 3
# Assumed distance of the object from the border, as a fraction of the side.
_MARGIN = 0.03


def foreground(images: Tensor, kind: ForegroundType) -> Tensor:
    """Return masks of the object in each image.

    Args:
        images: Images of shape ``(N, 3, H, W)``, in any range of values.
        kind: ``"none"``: everything is foreground; ``"otsu"``: the side of Otsu's grey threshold that is rarer on the
            image's border; ``"grabcut"``: GrabCut (Rother et al., 2004), started from all but the border.

    Returns:
        Masks of shape ``(N, 1, H, W)``, 1 on the object and 0 elsewhere, on the images' device; 1 everywhere if no
        object is found.

    Raises:
        ValueError: If ``kind`` is none of these.

    Example:
        >>> image = torch.zeros(1, 3, 32, 32)
        >>> image[..., 8:24, 8:24] = 1
        >>> int(foreground(image, "otsu").sum())
        256
    """
    if kind == "none":
        return images.new_ones(len(images), 1, *images.shape[-2:])
    find = {"otsu": _otsu, "grabcut": _grabcut}.get(kind)
    if find is None:
        msg = f"foreground must be 'none', 'otsu' or 'grabcut', got {kind!r}."
        raise ValueError(msg)
    masks = torch.from_numpy(np.stack([find(_eight_bit(image)) for image in images])).to(images).unsqueeze(1)
    found = masks.amax(dim=(-2, -1), keepdim=True) > 0
    return torch.where(found, masks, torch.ones_like(masks))


def _eight_bit(image: Tensor) -> np.ndarray:
    """An image of shape ``(3, H, W)`` for OpenCV: ``(H, W, 3)``, stretched to 0 to 255."""
    low, high = image.amin(), image.amax()
    stretched = (image - low) / (high - low).clamp_min(torch.finfo(image.dtype).tiny) * 255
    return stretched.round().to("cpu", torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _otsu(image: np.ndarray) -> np.ndarray:
    """Foreground by Otsu's threshold, of shape ``(H, W)``."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    _, bright = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    border = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    return 1 - bright if border.mean() > 0.5 else bright


def _grabcut(image: np.ndarray) -> np.ndarray:
    """Foreground by GrabCut, of shape ``(H, W)``."""
    height, width = image.shape[:2]
    scale = min(1.0, _GRABCUT_SIDE / max(height, width))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    rows, columns = small.shape[:2]
    if min(rows, columns) < _GRABCUT_LEAST:
        return np.zeros((height, width), np.uint8)
    left, top = max(1, round(_MARGIN * columns)), max(1, round(_MARGIN * rows))
    mask = np.zeros((rows, columns), np.uint8)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    # OpenCV has its own random generator; the same image must give the same mask.
    cv2.setRNGSeed(0)
    rectangle = (left, top, columns - 2 * left, rows - 2 * top)
    cv2.grabCut(small, mask, rectangle, *models, _GRABCUT_ROUNDS, cv2.GC_INIT_WITH_RECT)
    found = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    return cv2.resize(found, (width, height), interpolation=cv2.INTER_NEAREST)
