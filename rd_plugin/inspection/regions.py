# SPDX-License-Identifier: Apache-2.0
"""Where an image is defective: connected regions of a predicted mask."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

__all__ = ["Region", "find_regions"]

# Pixels that touch at a corner belong together.
_TOUCHING = np.ones((3, 3))


@dataclass(frozen=True)
class Region:
    """A region, in the pixels of the image file.

    Args:
        x: Column of the box's left side.
        y: Row of its upper side.
        width: The box's width.
        height: The box's height.
        area: Pixels of the region itself.
        peak: The anomaly map's greatest value in it; ``None`` without a map.
    """

    x: int
    y: int
    width: int
    height: int
    area: int
    peak: float | None


def find_regions(mask: np.ndarray, anomaly_map: np.ndarray | None, size: tuple[int, int]) -> tuple[Region, ...]:
    """Find the regions that a mask marks, the one with the highest peak first.

    They are found in the mask's own size and then enlarged: boxes are rounded outwards.

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
    labels, count = ndimage.label(mask, _TOUCHING)
    if not count:
        return ()
    indices = np.arange(1, count + 1)
    areas = ndimage.sum_labels(mask, labels, indices)
    peaks = None if anomaly_map is None else ndimage.maximum(anomaly_map, labels, indices)
    down, across = size[0] / mask.shape[0], size[1] / mask.shape[1]
    regions = []
    for index, (rows, columns) in enumerate(ndimage.find_objects(labels)):
        top, left = int(rows.start * down), int(columns.start * across)
        bottom, right = int(np.ceil(rows.stop * down)), int(np.ceil(columns.stop * across))
        area = max(1, round(float(areas[index]) * down * across))
        peak = None if peaks is None else round(float(peaks[index]), 6)
        regions.append(Region(left, top, right - left, bottom - top, area, peak))
    return tuple(sorted(regions, key=lambda region: (region.peak or 0.0, region.area), reverse=True))
