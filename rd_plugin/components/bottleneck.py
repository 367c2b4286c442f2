# SPDX-License-Identifier: Apache-2.0
"""One-class bottleneck embedding, OCBE (Deng and Li, CVPR 2022, section 3.3)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from .geometry import fit
from .pyramid import Pyramid
from .residual import initialize, residual_stage

__all__ = ["BottleneckType", "MultiScaleFusion", "OneClassEmbedding", "PretrainedEmbedding", "build_bottleneck"]

BottleneckType = Literal["mff_oce", "oce", "none"]


class MultiScaleFusion(nn.Module):
    """Multi-scale feature fusion, MFF: all scales are resized to the coarsest grid and concatenated.

    A scale is halved by 3x3 convolutions of stride 2 with batch norm and ReLU until it has the coarsest stride; each
    step changes its channels to those of the backbone's stage at that stride.

    Args:
        pyramid: The teacher's stages.

    Attributes:
        channels: Channels of the fused features.
    """

    def __init__(self, pyramid: Pyramid) -> None:
        super().__init__()
        coarsest = pyramid.stages[-1]
        self.branches = nn.ModuleList()
        for target in pyramid.targets:
            steps: list[nn.Module] = []
            channels = target.channels
            for stage in pyramid.stages:
                if stage.stride > target.stride:
                    steps += [
                        nn.Conv2d(channels, stage.channels, 3, stride=2, padding=1, bias=False),
                        nn.BatchNorm2d(stage.channels),
                        nn.ReLU(inplace=True),
                    ]
                    channels = stage.channels
            self.branches.append(nn.Sequential(*steps))
        self.channels = coarsest.channels * len(self.branches)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Fuse the scales.

        Args:
            features: Teacher features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.

        Returns:
            Features of shape ``(N, channels, H_L, W_L)`` on the coarsest grid.
        """
        size = features[-1].shape[-2:]
        fused = [fit(branch(feature), size) for branch, feature in zip(self.branches, features, strict=True)]
        return torch.cat(fused, dim=1)


class OneClassEmbedding(nn.Module):
    """One-class embedding, OCE: a trained residual stage of stride 2 that keeps only what normal images need.

    Args:
        pyramid: The teacher's stages.
        fuse: Whether all scales are fused first (MFF); otherwise the coarsest alone is embedded.
    """

    def __init__(self, pyramid: Pyramid, fuse: bool = True) -> None:
        super().__init__()
        self.fusion = MultiScaleFusion(pyramid) if fuse else None
        in_channels = self.fusion.channels if self.fusion else pyramid.stages[-1].channels
        self.embedding = residual_stage(in_channels, pyramid.embedding, "down")
        initialize(self)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Embed teacher features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.

        Returns:
            Embedding of shape ``(N, C, ceil(H_L / 2), ceil(W_L / 2))``.
        """
        fused = features[-1] if self.fusion is None else self.fusion(features)
        return self.embedding(fused)


class PretrainedEmbedding(nn.Module):
    """No trained bottleneck, the paper's baseline "Pre": the teacher's own next stage is the embedding.

    The teacher must deliver that stage's features after those of the distilled scales.
    """

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return the last of ``features``."""
        return features[-1]


def build_bottleneck(kind: BottleneckType, pyramid: Pyramid) -> nn.Module:
    """Build the bottleneck of the paper's ablation (its table on Pre, OCE and MFF).

    Args:
        kind: ``"mff_oce"`` (the method), ``"oce"`` (the coarsest scale alone, embedded) or ``"none"`` (the teacher's
            next stage, not trained).
        pyramid: The teacher's stages.

    Raises:
        ValueError: If ``kind`` is none of these.
    """
    if kind == "none":
        return PretrainedEmbedding()
    if kind in {"mff_oce", "oce"}:
        return OneClassEmbedding(pyramid, fuse=kind == "mff_oce")
    msg = f"bottleneck must be 'mff_oce', 'oce' or 'none', got {kind!r}."
    raise ValueError(msg)
