# SPDX-License-Identifier: Apache-2.0
"""Feature maps of one pyramid brought to the same size."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

__all__ = ["fit"]


def fit(features: Tensor, size: Sequence[int]) -> Tensor:
    """Crop or repeat the last rows and columns until the grid has ``size``.

    Halving rounds an odd grid up or down, depending on the backbone's padding, so doubling it again may give a row or a
    column too many or too few. If the sizes agree, as for inputs that are a multiple of the coarsest stride, features
    stay as they are.

    Args:
        features: Features of shape ``(N, C, H, W)``.
        size: Target height and width, in positions.

    Returns:
        Features of shape ``(N, C, *size)``.
    """
    height, width = size
    features = features[..., :height, :width]
    missing = (height - features.shape[-2], width - features.shape[-1])
    if any(missing):
        features = F.pad(features, (0, missing[1], 0, missing[0]), mode="replicate")
    return features
