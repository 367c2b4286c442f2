# SPDX-License-Identifier: Apache-2.0
"""The pixels of a batch that are inside the region of interest, for what is measured pixel by pixel."""

from dataclasses import replace
from typing import Any, cast

from anomalib.data import ImageBatch
from torch import Tensor

from rd_plugin.components import RegionMask

__all__ = ["pixels_inside", "region_of"]

_PLANES = ("anomaly_map", "pred_mask", "gt_mask")


def region_of(module: Any) -> RegionMask | None:
    """Return the region of interest of a Lightning module; ``None`` if it looks at whole images."""
    return getattr(getattr(module, "model", None), "roi", None)


def pixels_inside(batch: ImageBatch, region: RegionMask | None) -> ImageBatch:
    """Return a batch whose maps and masks hold only the pixels inside a region.

    Args:
        batch: Images with maps and masks of shape ``(N, H, W)`` or ``(N, 1, H, W)``.
        region: The region; ``None`` for the whole image.

    Returns:
        The same images, with maps and masks of one row, of shape ``(N, 1, K)`` or ``(N, 1, 1, K)``.
    """
    if region is None:
        return batch
    planes = {name: cast("Tensor | None", getattr(batch, name)) for name in _PLANES}
    inside: dict[str, Any] = {
        name: plane[..., region.inside(plane.shape[-2:])[0, 0]].unsqueeze(-2)
        for name, plane in planes.items()
        if plane is not None
    }
    return replace(batch, **inside)
