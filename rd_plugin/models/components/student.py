# SPDX-License-Identifier: Apache-2.0
"""The student: a decoder that mirrors the teacher, from its embedding back to its features (section 3.2)."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from .geometry import fit
from .pyramid import Pyramid
from .residual import initialize, residual_stage

__all__ = ["Student"]


class Student(nn.Module):
    """Decoder with a residual up-stage for every stage of the teacher, coarse to fine.

    Each stage has the channels and make of the teacher's stage that it mirrors, and its first block doubles the
    resolution. The numbers of blocks are the teacher's list read in the student's own order, as in the authors'
    program: with a ResNet-50, 3 at the coarsest stage, then 4, then 6. A stage whose teacher features are not rectified
    gets a linear 1x1 head, because the up-stages end in a ReLU and could not give negative values.

    Args:
        pyramid: The teacher's stages.
    """

    def __init__(self, pyramid: Pyramid) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        self.heads = nn.ModuleList()
        channels = pyramid.embedding.channels
        for stage, counted in zip(reversed(pyramid.stages), pyramid.stages, strict=True):
            make = replace(stage.residual, depth=counted.residual.depth)
            self.stages.append(residual_stage(channels, replace(stage, residual=make), "up"))
            channels = stage.channels
            linear = stage.name in pyramid.distilled and not stage.rectified
            self.heads.append(nn.Conv2d(channels, channels, 1) if linear else nn.Identity())
        self._distilled = [stage.name in pyramid.distilled for stage in reversed(pyramid.stages)]
        initialize(self)

    def forward(self, embedding: Tensor, sizes: Sequence[Sequence[int]]) -> list[Tensor]:
        """Rebuild the teacher's features.

        Args:
            embedding: Bottleneck embedding of shape ``(N, C, H, W)``.
            sizes: Height and width of each distilled feature of the teacher, fine to coarse.

        Returns:
            Student features of shapes ``(N, C_l, *sizes[l])``, fine to coarse.
        """
        features: list[Tensor] = []
        remaining = list(sizes)
        state = embedding
        for stage, head, distilled in zip(self.stages, self.heads, self._distilled, strict=True):
            state = stage(state)
            if distilled:
                state = fit(state, remaining.pop())
                features.append(head(state))
        return features[::-1]
