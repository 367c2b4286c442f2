# SPDX-License-Identifier: Apache-2.0
"""Reverse distillation as a torch module (Deng and Li, CVPR 2022)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rd_plugin.components import BottleneckType, Student, Teacher, build_bottleneck
from rd_plugin.models.distillation import DistillationModel

__all__ = ["ReverseDistillationModel"]


class ReverseDistillationModel(DistillationModel):
    """A frozen teacher, a bottleneck, and a student that gets only the bottleneck's embedding.

    Args:
        backbone: Name of a timm model that supports ``features_only``.
        layers: Names of the stages to distil, or ``None`` for those of strides 4, 8 and 16.
        pre_trained: ``True`` for timm's weights, ``False`` for random ones, or a file or package with weights.
        bottleneck: ``"mff_oce"``, ``"oce"`` or ``"none"``.
        **map_arguments: ``deviation``, ``anomaly_map_mode``, ``score``, ``blur_sigma``, ``blur_border``, ``tile_size``
            and ``tile_overlap`` of :class:`~rd_plugin.models.distillation.DistillationModel`.

    Raises:
        ValueError: If an argument is out of range; see the components.
    """

    def __init__(
        self,
        backbone: str,
        layers: Sequence[str] | None = None,
        pre_trained: bool | str | Path = True,
        bottleneck: BottleneckType = "mff_oce",
        **map_arguments: Any,
    ) -> None:
        teacher = Teacher(backbone, layers, pre_trained, with_embedding=bottleneck == "none")
        super().__init__(
            teacher,
            build_bottleneck(bottleneck, teacher.pyramid),
            Student(teacher.pyramid),
            **map_arguments,
        )
