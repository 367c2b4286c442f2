# SPDX-License-Identifier: Apache-2.0
"""Grids of one pyramid brought to one size."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

__all__ = ["fit"]


def fit(features: Tensor, size: Sequence[int]) -> Tensor:
    """Cut off, or repeat, the last rows and columns until the grid has ``size``.

    Halving rounds an odd grid up or down, depending on the backbone's padding; doubling it again misses by a row or a
    column. Where the sizes agree already, as for inputs that are a multiple of the coarsest stride, nothing is done.

    Args:
        features: Features of shape ``(N, C, H, W)``.
        size: Wanted height and width, in positions.

    Returns:
        Features of shape ``(N, C, *size)``.
    """
    height, width = size
    features = features[..., :height, :width]
    missing = (height - features.shape[-2], width - features.shape[-1])
    if any(missing):
        features = F.pad(features, (0, missing[1], 0, missing[0]), mode="replicate")
    return features
