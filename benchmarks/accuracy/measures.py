# SPDX-License-Identifier: Apache-2.0
"""What the accuracy benchmarks measure on anomaly maps and scores; no figure here needs a threshold."""

import torch
from anomalib.metrics.aupro import _AUPRO as AUPRO  # the metric without anomalib's batches
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from rd_plugin.comparison import area_under_roc

__all__ = ["METRICS", "PixelMetrics", "measure", "to_unit"]

# Names in records, and what they are called in tables.
METRICS = {
    "image_AUROC": "image AUROC",
    "map_max_AUROC": "image AUROC, maximum of the map",
    "map_mean_AUROC": "image AUROC, mean of the map",
    "pixel_AUROC": "pixel AUROC",
    "pixel_AUPRO": "PRO, images pooled",
    "pixel_AUPRO_per_image": "PRO, image by image",
}


def to_unit(scores: Tensor) -> Tensor:
    """Bring scores of any range to [0, 1]; torchmetrics would by a sigmoid, in which large ones become equal.

    Raises:
        ValueError: If a score is not finite.
    """
    if not scores.isfinite().all():
        msg = f"{int((~scores.isfinite()).sum())} of {scores.numel()} scores are not finite."
        raise ValueError(msg)
    low, high = scores.aminmax()
    return (scores - low) / (high - low) if high > low else torch.zeros_like(scores)


class PixelMetrics:
    """Pixel AUROC and anomalib's AUPRO, with the masks' regions found once for all maps.

    Args:
        masks: Ground truth of shape ``(N, H, W)``, boolean.
    """

    def __init__(self, masks: Tensor) -> None:
        self.masks = masks
        self.aupro = AUPRO()
        self.aupro.update(masks.float(), masks.int())
        self.regions = self.aupro.perform_cca()

    def __call__(self, maps: Tensor) -> dict[str, float]:
        """Return both figures for maps of shape ``(N, H, W)``."""
        return {
            "pixel_AUROC": float(area_under_roc(maps, self.masks)),
            "pixel_AUPRO": self._overlap(self.regions, maps),
        }

    def per_image(self, maps: Tensor) -> float:
        """Return the mean of each defective image's own AUPRO, as the authors of RD4AD and RD++ compute theirs."""
        defective = self.masks.flatten(1).any(1).nonzero().flatten().tolist()
        return sum(self._overlap(self.regions[i], maps[i]) for i in defective) / len(defective)

    def areas(self) -> Tensor:
        """Return the defective part of each image, from 0 to 1, of shape ``(N,)``."""
        return self.masks.flatten(1).float().mean(1)

    def peak_distances(self, maps: Tensor) -> Tensor:
        """Return how far each map's highest value lies from the nearest defect, in pixels; NaN where there is none."""
        peaks = maps.flatten(1).argmax(1)
        return torch.tensor(
            [
                distance_transform_edt(~mask.numpy()).flat[int(peak)] if mask.any() else torch.nan
                for mask, peak in zip(self.masks, peaks, strict=True)
            ]
        )

    def _overlap(self, regions: Tensor, maps: Tensor) -> float:
        """Area under the per-region overlap, up to 30 % false positives."""
        rates, overlaps = self.aupro.compute_pro(regions, maps)
        return float(torch.trapezoid(overlaps, rates) / rates[-1])


def measure(scores: Tensor, maps: Tensor | None, labels: Tensor, pixels: PixelMetrics | None) -> dict[str, float]:
    """Return all figures that the data can answer.

    Args:
        scores: The method's own image scores, of shape ``(N,)``.
        maps: Anomaly maps of shape ``(N, H, W)``, if the method draws any.
        labels: Whether an image is anomalous, of shape ``(N,)``, boolean.
        pixels: Pixel metrics of the same images, if they have masks.
    """
    figures = {"image_AUROC": float(area_under_roc(scores, labels))}
    if maps is None:
        return figures
    figures |= {
        "map_max_AUROC": float(area_under_roc(maps.amax((1, 2)), labels)),
        "map_mean_AUROC": float(area_under_roc(maps.mean((1, 2)), labels)),
    }
    if pixels is not None:
        figures |= pixels(maps) | {"pixel_AUPRO_per_image": pixels.per_image(maps)}
    return figures
