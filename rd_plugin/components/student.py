# SPDX-License-Identifier: Apache-2.0
"""The student: a decoder that mirrors the teacher, from its embedding back to its features (section 3.2)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from torch import Tensor, nn

from .geometry import fit
from .pyramid import Pyramid, Stage
from .residual import initialize, residual_stage

__all__ = ["Student"]


class Student(nn.Module):
    """Decoder with a residual up-stage for every stage of the teacher, coarse to fine.

    Each stage has the channels and blocks of the teacher's stage that it mirrors, and its first block doubles the
    resolution. The numbers of blocks are the teacher's list in the student's order, as in the authors' program: with a
    ResNet-50, 3 at the coarsest stage, then 4, then 6. A stage whose teacher features are not rectified gets a linear
    1x1 head, because the up-stages end in a ReLU and could not give negative values.

    Args:
        pyramid: The teacher's stages.
        build_injection: Builds, for one distilled stage and the next finer one, a module that injects the teacher's
            features into the student: from the student's features, the teacher's and the teacher's finer ones it
            computes the input of the next up-stage. Without it the student gets only the embedding (Deng and Li).
    """

    def __init__(self, pyramid: Pyramid, build_injection: Callable[[Stage, Stage], nn.Module] | None = None) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        self.heads = nn.ModuleList()
        self.injections = nn.ModuleList()
        channels = pyramid.embedding.channels
        for stage, counted in zip(reversed(pyramid.stages), pyramid.stages, strict=True):
            spec = replace(stage.residual, depth=counted.residual.depth)
            self.stages.append(residual_stage(channels, replace(stage, residual=spec), "up"))
            channels = stage.channels
            linear = stage.name in pyramid.distilled and not stage.rectified
            self.heads.append(nn.Conv2d(channels, channels, 1) if linear else nn.Identity())
        if build_injection is not None:
            self.injections.extend(build_injection(*scales) for scales in pairwise(pyramid.targets[::-1]))
        self._distilled = [stage.name in pyramid.distilled for stage in reversed(pyramid.stages)]
        initialize(self)

    def forward(self, embedding: Tensor, teacher: Sequence[Tensor]) -> list[Tensor]:
        """Reconstruct the teacher's features.

        Args:
            embedding: Bottleneck embedding of shape ``(N, C, H, W)``.
            teacher: The teacher's features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse. Without injection only
                their sizes are used.

        Returns:
            Student features of the same shapes, fine to coarse.
        """
        features: list[Tensor] = []
        remaining = list(teacher)
        state = embedding
        for stage, head, distilled in zip(self.stages, self.heads, self._distilled, strict=True):
            state = stage(state)
            if not distilled:
                continue
            target = remaining.pop()
            state = fit(state, target.shape[-2:])
            feature = head(state)
            features.append(feature)
            if self.injections and remaining:
                state = self.injections[len(features) - 1](feature, target, remaining[-1])
        return features[::-1]
