# SPDX-License-Identifier: Apache-2.0
"""Reverse distillation as a torch module (Deng and Li, CVPR 2022)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from rd_plugin.components import (
    BottleneckType,
    NoisyBottleneck,
    Student,
    Teacher,
    TokenBottleneckType,
    TokenStudent,
    ViTTeacher,
    build_bottleneck,
    build_teacher,
)
from rd_plugin.models.distillation import DistillationModel

__all__ = ["ReverseDistillationModel"]

# Dinomaly's, for one kind of part.
_DROPOUT = 0.2
# Of the normalization of recentred targets.
_EPSILON = 1e-8


class ReverseDistillationModel(DistillationModel):
    """A frozen teacher, a bottleneck, and a student that gets only the bottleneck's embedding.

    For a plain vision transformer as the teacher, bottleneck and student work on tokens, as in Dinomaly (Guo et al.,
    CVPR 2025).

    Args:
        backbone: Name of a timm model: one with a feature pyramid, or a plain vision transformer.
        layers: Names of the stages to distil, or ``None`` for those of strides 4, 8 and 16, or a ViT's middle blocks.
        pre_trained: ``True`` for timm's weights, ``False`` for random ones, or a file or package with weights.
        bottleneck: ``"mff_oce"``, ``"oce"`` or ``"none"``; for a ViT ``"noisy"`` or ``"narrow"``. ``None`` for the
            first of each.
        dropout: Probability of dropout: in a ViT's bottleneck, by default 0.2, or of values of another bottleneck's
            embedding, by default 0.
        student_depth: Number of blocks of a ViT's student.
        recentred: Whether a ViT's student learns patches less the class token, normalized (Dinomaly2).
        **map_arguments: ``deviation``, ``anomaly_map_mode``, ``score``, ``blur_sigma``, ``blur_border``, ``tile_size``,
            ``tile_overlap``, ``map_size`` and ``image_size`` of
            :class:`~rd_plugin.models.distillation.DistillationModel`.

    Attributes:
        bottleneck_kind: The kind of bottleneck.
        dropout: The probability of dropout.

    Raises:
        ValueError: If an argument is out of range; see the components.
    """

    # Defaults of torch exports of earlier versions.
    recentred = False
    dropout = 0.0

    def __init__(
        self,
        backbone: str,
        layers: Sequence[str] | None = None,
        pre_trained: bool | str | Path = True,
        bottleneck: BottleneckType | TokenBottleneckType | None = None,
        dropout: float | None = None,
        student_depth: int = 8,
        recentred: bool = False,
        **map_arguments: Any,
    ) -> None:
        teacher = build_teacher(backbone, layers, pre_trained, with_embedding=bottleneck == "none")
        parts: tuple[Any, Any]
        if isinstance(teacher, ViTTeacher):
            if recentred and not teacher.has_class_token:
                msg = f"recentred targets need a class token, and backbone {backbone!r} has none."
                raise ValueError(msg)
            bottleneck, dropout = bottleneck or "noisy", _DROPOUT if dropout is None else dropout
            channels = teacher.pyramid.embedding.channels
            tokens = NoisyBottleneck(channels, teacher.groups, dropout, bottleneck)  # type: ignore[arg-type]
            parts = (
                self.with_projection(tokens, bottleneck, teacher),
                TokenStudent(channels, teacher.heads, student_depth, len(teacher.groups)),
            )
        else:
            if recentred or bottleneck in get_args(TokenBottleneckType):
                given = "recentred" if recentred else f"bottleneck {bottleneck!r}"
                msg = f"{given} is for a plain vision transformer, and backbone {backbone!r} is none."
                raise ValueError(msg)
            bottleneck, dropout = bottleneck or "mff_oce", 0.0 if dropout is None else dropout
            if not 0 <= dropout < 1:
                msg = f"dropout must be in [0, 1), got {dropout}."
                raise ValueError(msg)
            scales = build_bottleneck(bottleneck, teacher.pyramid)  # type: ignore[arg-type]
            parts = (self.with_projection(scales, bottleneck, teacher), Student(teacher.pyramid))
        super().__init__(teacher, *parts, **map_arguments)
        self.bottleneck_kind = bottleneck
        self.recentred = recentred
        self.dropout = dropout

    @staticmethod
    def with_projection(bottleneck: nn.Module, kind: str, teacher: Teacher) -> nn.Module:
        """Return the bottleneck with what a method puts before it; here as it is.

        Args:
            bottleneck: The bottleneck.
            kind: Its kind.
            teacher: The teacher whose features it takes.
        """
        del kind, teacher
        return bottleneck

    def reconstruct(self, features: list[Tensor]) -> list[Tensor]:
        """Return the student's features for those of the teacher, all of shapes ``(N, C_l, H_l, W_l)``."""
        return self.student_of(self.bottleneck(features), features)

    def student_of(self, embedding: Tensor, features: list[Tensor]) -> list[Tensor]:
        """Return the student's features for an embedding; those of the teacher give their sizes."""
        # A vision transformer's bottleneck drops by itself.
        if not isinstance(self.teacher, ViTTeacher):
            embedding = F.dropout(embedding, self.dropout, self.training)
        return self.student(embedding, features[: len(self.teacher.pyramid.distilled)])

    def targets(self, features: list[Tensor]) -> list[Tensor]:
        """Return what the student is compared with, from all of the teacher's features."""
        maps = super().targets(features)
        if not self.recentred:
            return maps
        # Features after the maps are the tokens before the patches, of which the class token is the first.
        centred = [scale - features[-1][:, :, index, :1, None] for index, scale in enumerate(maps)]
        return [F.layer_norm(c.permute(0, 2, 3, 1), c.shape[1:2], eps=_EPSILON).permute(0, 3, 1, 2) for c in centred]
