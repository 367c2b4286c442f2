# SPDX-License-Identifier: Apache-2.0
"""Where an image is defective: connected regions of a predicted mask."""

import math

import cv2
import numpy as np

from rd_plugin.results import Region

__all__ = ["find_regions"]


def find_regions(mask: np.ndarray, anomaly_map: np.ndarray | None, size: tuple[int, int]) -> tuple[Region, ...]:
    """Find the connected regions of a mask, the one with the highest peak first.

    They are found in the mask's own size and then enlarged; boxes are rounded outwards.

    Args:
        mask: Booleans of shape ``(h, w)``, of the whole image.
        anomaly_map: Values of the same shape, or ``None``.
        size: Height and width of the image file, in pixels.

    Example:
        >>> mask = np.zeros((4, 4), bool)
        >>> mask[1:3, 2:] = True
        >>> find_regions(mask, mask * 0.75, (40, 80))
        (Region(x=40, y=10, width=40, height=20, area=800, peak=0.75),)
    """
    # Pixels that touch at a corner belong together. The first label is the background.
    count, labels, found, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count == 1:
        return ()
    peaks: list[float | None] = [None] * count
    if anomaly_map is not None:
        highest = np.full(count, -np.inf)
        np.maximum.at(highest, labels[mask], anomaly_map[mask])
        peaks = [round(float(peak), 6) for peak in highest]
    down, across = size[0] / mask.shape[0], size[1] / mask.shape[1]
    regions = []
    for (x, y, width, height, pixels), peak in zip(found[1:].tolist(), peaks[1:], strict=True):
        top, left = int(y * down), int(x * across)
        bottom, right = math.ceil((y + height) * down), math.ceil((x + width) * across)
        area = max(1, round(pixels * down * across))
        regions.append(Region(left, top, right - left, bottom - top, area, peak))
    # Either all regions have a peak or none has.
    return tuple(
        sorted(regions, key=lambda region: (region.peak is not None and region.peak, region.area), reverse=True)
    )
