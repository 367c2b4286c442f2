# SPDX-License-Identifier: Apache-2.0
"""Where an image is defective: connected regions of a mask, and rules about which of them count."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from .result import Region
from .scale import straighten

__all__ = ["RegionRules", "counting_level", "find_regions"]

# Halvings of the range of a map: to a fifth of what a row shows.
_STEPS = 22


@dataclass(frozen=True)
class RegionRules:
    """Which regions count. With a rule, an image is anomalous only if its score exceeds the threshold and one counts.

    Args:
        min_area: Smallest area, in the file's pixels, or in square millimetres with ``pixel_size``; 0 for no rule.
        min_peak: Smallest peak, on the model's normalized scale, in [0, 1); 0 for no rule.
        pixel_size: Side of a pixel of the file in millimetres; ``None`` for areas in pixels.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> RegionRules(min_area=0.5, pixel_size=0.1).pixels
        50.0
    """

    min_area: float = 0.0
    min_peak: float = 0.0
    pixel_size: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.min_area < math.inf:
            msg = f"min_area must be 0 or more, got {self.min_area}."
            raise ValueError(msg)
        if not 0 <= self.min_peak < 1:
            msg = f"min_peak must be at least 0 and below 1, got {self.min_peak}."
            raise ValueError(msg)
        if self.pixel_size is not None and not 0 < self.pixel_size < math.inf:
            msg = f"pixel_size must be the side of a pixel in millimetres, above 0, got {self.pixel_size}."
            raise ValueError(msg)

    def __bool__(self) -> bool:
        """Whether there is a rule."""
        return self.min_area > 0 or self.min_peak > 0

    @property
    def pixels(self) -> float:
        """The smallest area in the file's pixels."""
        side = 1.0 if self.pixel_size is None else self.pixel_size
        return self.min_area / side / side

    def plain(self) -> dict[str, Any]:
        """Return the rules as plain data for a record; empty without a rule."""
        return asdict(self) if self else {}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "RegionRules":
        """Return the rules that a model's record holds."""
        return cls(**(record.get("regions") or {}))

    def ignore(self, area: float, peak: float | None) -> bool:
        """Return whether a region does not count.

        Args:
            area: Its area in the file's pixels.
            peak: Its peak; ``None`` without a map.
        """
        return area < self.pixels or (peak is not None and peak < self.min_peak)


def find_regions(
    mask: np.ndarray, anomaly_map: np.ndarray | None, size: tuple[int, int], rules: RegionRules | None = None
) -> tuple[Region, ...]:
    """Find the connected regions of a mask: those that count first, and of these the one with the highest peak.

    They are found in the mask's own size and then enlarged; boxes are rounded outwards.

    Args:
        mask: Booleans of shape ``(h, w)``, of the whole image.
        anomaly_map: Values of the same shape, or ``None``.
        size: Height and width of the image file, in pixels.
        rules: Which regions count; by default all.

    Example:
        >>> mask = np.zeros((4, 4), bool)
        >>> mask[1:3, 2:] = True
        >>> (region,) = find_regions(mask, mask * 0.75, (40, 80))
        >>> region.x, region.y, region.width, region.height, region.area, region.peak
        (40, 10, 40, 20, 800, 0.75)
        >>> region.center_x, region.center_y, region.length, region.breadth, region.mean
        (60.0, 20.0, 40.0, 20.0, 0.75)
    """
    # Pixels that touch at a corner belong together. The first label is the background.
    count, labels, found, centers = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count == 1:
        return ()
    peaks: list[float | None] = [None] * count
    means: list[float | None] = [None] * count
    if anomaly_map is not None:
        highest, inside = np.full(count, -np.inf), labels[mask]
        np.maximum.at(highest, inside, anomaly_map[mask])
        peaks = [round(float(peak), 6) for peak in highest]
        sums = np.bincount(inside, weights=anomaly_map[mask], minlength=count)
        means = [round(float(mean), 6) for mean in sums / np.maximum(found[:, cv2.CC_STAT_AREA], 1)]
    down, across = size[0] / mask.shape[0], size[1] / mask.shape[1]
    regions = []
    for label in range(1, count):
        x, y, width, height, pixels = found[label].tolist()
        top, left = int(y * down), int(x * across)
        bottom, right = math.ceil((y + height) * down), math.ceil((x + width) * across)
        area = max(1, round(pixels * down * across))
        part = (labels[y : y + height, x : x + width] == label).astype(np.uint8)
        length, breadth = _sides(part, (across, down))
        center_x, center_y = (centers[label] + 0.5) * (across, down)
        regions.append(
            Region(
                left,
                top,
                right - left,
                bottom - top,
                area,
                peaks[label],
                means[label],
                round(float(center_x), 1),
                round(float(center_y), 1),
                length,
                breadth,
                rules is not None and rules.ignore(pixels * down * across, peaks[label]),
            )
        )
    # Either all regions have a peak or none has.
    return tuple(
        sorted(
            regions,
            key=lambda region: (not region.ignored, region.peak is not None and region.peak, region.area),
            reverse=True,
        )
    )


def _sides(part: np.ndarray, scale: tuple[float, float]) -> tuple[float, float]:
    """Long and short side of the smallest rotated rectangle around a region, in the file's pixels."""
    contours, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    # A pixel is a square: its corners count, not its centre.
    corners = np.concatenate(contours) + np.array([[[0, 0]], [[0, 1]], [[1, 0]], [[1, 1]]]).reshape(1, 4, 2)
    _, sides, _ = cv2.minAreaRect((corners.reshape(-1, 2) * scale).astype(np.float32))
    return round(max(sides), 1), round(min(sides), 1)


def counting_level(
    anomaly_map: np.ndarray, size: tuple[int, int], rules: RegionRules, normalized: bool = True
) -> float:
    """Find the threshold of a map from which on no region counts.

    A lower threshold only enlarges and joins regions, so there is one such threshold. The rule for peaks moves with it:
    a model whose threshold is changed is scaled, so that the threshold is 0.5 again.

    Args:
        anomaly_map: Map of shape ``(h, w)``, of the whole image.
        size: Height and width of the image file, in pixels.
        rules: Which regions count.
        normalized: Whether the map is on a model's normalized scale. Otherwise the rule for peaks is left out, since it
            is on that scale.

    Returns:
        The threshold; without a rule the map's highest value.
    """
    low, high = float(anomaly_map.min()), float(anomaly_map.max())
    scale = size[0] * size[1] / anomaly_map.size
    if not rules:
        return high

    def counts(level: float) -> bool:
        regions, labels, found, _ = cv2.connectedComponentsWithStats((anomaly_map > level).astype(np.uint8))
        large = [label for label in range(1, regions) if found[label, cv2.CC_STAT_AREA] * scale >= rules.pixels]
        if not large or not normalized or not rules.min_peak:
            return bool(large)
        highest = max(float(anomaly_map[labels == label].max()) for label in large)
        return bool(straighten(highest) >= 2 * straighten(rules.min_peak) * straighten(level))

    for _ in range(_STEPS):
        level = (low + high) / 2
        low, high = (level, high) if counts(level) else (low, level)
    return high
