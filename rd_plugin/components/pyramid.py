# SPDX-License-Identifier: Apache-2.0
"""The stages of a feature pyramid: described by the teacher, used to build bottleneck and student."""

from dataclasses import dataclass

__all__ = ["Pyramid", "Residual", "Stage"]


@dataclass(frozen=True)
class Residual:
    """Block spec: the residual blocks of one stage.

    Args:
        depth: Number of blocks.
        width: Channels inside a bottleneck block, or ``None`` for a basic block (two 3x3 convolutions).
        groups: Groups of the 3x3 convolution in a bottleneck block.
    """

    depth: int = 2
    width: int | None = None
    groups: int = 1


@dataclass(frozen=True)
class Stage:
    """One stage of a backbone.

    Args:
        name: Module name in the backbone, as in timm's ``feature_info``.
        channels: Channels of its output.
        stride: Input pixels per output position, along each axis.
        residual: Its residual blocks.
        rectified: Whether the last operation on its output is a ReLU. A student whose last activation is a ReLU can
            only reconstruct such features; all others need a linear head.
    """

    name: str
    channels: int
    stride: int
    residual: Residual = Residual()
    rectified: bool = False


@dataclass(frozen=True)
class Pyramid:
    """The stages from the finest to the coarsest distilled one, and the stage of the embedding.

    Args:
        stages: One stage for each stride from the finest to the coarsest, every stride twice the one before.
        distilled: Names of the stages whose features the student learns, fine to coarse.
        embedding: The stage that the bottleneck ends in, at twice the coarsest stride.
    """

    stages: tuple[Stage, ...]
    distilled: tuple[str, ...]
    embedding: Stage

    @property
    def targets(self) -> tuple[Stage, ...]:
        """The distilled stages, fine to coarse."""
        return tuple(stage for stage in self.stages if stage.name in self.distilled)
