# SPDX-License-Identifier: Apache-2.0
"""Fused reverse distillation as a torch module."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from rd_plugin.components import BottleneckType
from rd_plugin.models.reverse_distillation import ReverseDistillationModel

from .evidence import EVIDENCE, Evidence
from .fusion import Fusion
from .light import Light

__all__ = ["FusedReverseDistillationModel"]


class FusedReverseDistillationModel(ReverseDistillationModel):
    """Reverse distillation whose map is fused from the student's error and the teacher's own features.

    Until it has learned from good images it is plain reverse distillation: the map is the cosine's, and images go
    through the networks as they are.

    Args:
        backbone: Name of a timm model that supports ``features_only``.
        layers: Names of the stages to distil, or ``None`` for those of strides 4, 8 and 16.
        pre_trained: ``True`` for timm's weights, ``False`` for random ones, or a file or package with weights.
        bottleneck: ``"mff_oce"``, ``"oce"`` or ``"none"``.
        **map_arguments: ``score``, ``blur_sigma`` and ``blur_border`` of
            :class:`~rd_plugin.models.distillation.DistillationModel`.

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
        super().__init__(backbone, layers, pre_trained, bottleneck, **map_arguments)
        self.light = Light()
        self.evidence = Evidence([stage.channels for stage in self.teacher.pyramid.targets])
        self.fusion = Fusion(len(EVIDENCE))

    def tiles(self, images: Tensor) -> Tensor:
        """Return what goes through the networks: evened images, or their tiles."""
        return super().tiles(self.light(images))

    def deviations(self, images: Tensor) -> list[Tensor]:
        """Return the fused evidence, of shape ``(N, H, W)``, as a single scale.

        Args:
            images: Images or tiles, as :meth:`tiles` gives them.
        """
        teacher, student = self.distill(images)
        if not self.evidence.known:
            return self.deviation(teacher, student)
        return [self.fusion(self.evidence(teacher, student))]
