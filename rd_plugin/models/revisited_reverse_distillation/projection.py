# SPDX-License-Identifier: Apache-2.0
"""Projection of the teacher's features before the bottleneck (Tien et al., CVPR 2023)."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

__all__ = ["ProjectedBottleneck", "Projection"]

_SLOPE = 0.01


class Projection(nn.Sequential):
    """Four 3x3 convolutions that narrow features to a quarter of their channels and widen them again.

    After each there is instance norm, without weights and by each image's own statistics in evaluation, too, and leaky
    ReLU. The authors' convolutions have a bias, which instance norm removes again; these have none.

    Args:
        channels: Channels of the features.

    Shape:
        ``(N, channels, H, W)`` to ``(N, channels, H, W)``, of at least two positions.
    """

    def __init__(self, channels: int) -> None:
        half, quarter = max(1, channels // 2), max(1, channels // 4)
        layers: list[nn.Module] = []
        for width, next_width in pairwise((channels, half, quarter, half, channels)):
            layers += [
                nn.Conv2d(width, next_width, 3, padding=1, bias=False),
                nn.InstanceNorm2d(next_width),
                nn.LeakyReLU(_SLOPE, inplace=True),
            ]
        super().__init__(*layers)


class ProjectedBottleneck(nn.Module):
    """A projection for each scale that the bottleneck takes, and the bottleneck.

    Args:
        channels: Channels of these scales, fine to coarse; they are the coarsest ones of the teacher's.
        bottleneck: The bottleneck.
        scales: Number of the teacher's scales. What follows them, the class and register tokens of a vision
            transformer, has no grid and is not projected.
    """

    def __init__(self, channels: Sequence[int], bottleneck: nn.Module, scales: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(Projection(count) for count in channels)
        self.bottleneck = bottleneck
        self.scales = scales

    def project(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the projected features, of shapes ``(N, C_l, H_l, W_l)``, for those of the teacher.

        Raises:
            ValueError: If a scale has a single position, of which instance norm leaves nothing, or, in an export, an
                unknown size.
        """
        taken = self.projectable(features)
        if not all(isinstance(side, int) for feature in taken for side in feature.shape[-2:]):
            msg = "An exported model needs images of one size: give input_size, or a pre-processor that resizes."
            raise ValueError(msg)
        if any(feature.shape[-2:].numel() == 1 for feature in taken):
            msg = "RD++ normalizes each feature map by itself: images must be larger than one stride of the last layer."
            raise ValueError(msg)
        return [projection(feature) for projection, feature in zip(self.projections, taken, strict=True)]

    def projectable(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return those of the teacher's features that are projected."""
        return list(features[self.scales - len(self.projections) : self.scales])

    def embed(self, projected: Sequence[Tensor], features: Sequence[Tensor]) -> Tensor:
        """Return the embedding.

        Args:
            projected: Projected features, as :meth:`project` returns them.
            features: The teacher's features, of which those without a grid are taken as they are.
        """
        return self.bottleneck([*projected, *features[self.scales :]])

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return the embedding of the teacher's features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse."""
        return self.embed(self.project(features), features)
