# SPDX-License-Identifier: Apache-2.0
"""Fused reverse distillation as a torch module."""

from typing import Any

from torch import Tensor

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
        *network: As those of :class:`~rd_plugin.models.reverse_distillation.ReverseDistillationModel`.
        **arguments: Likewise, save ``deviation`` and ``anomaly_map_mode``.

    Raises:
        ValueError: If an argument is out of range; see the components.
    """

    def __init__(self, *network: Any, **arguments: Any) -> None:
        super().__init__(*network, **arguments)
        self.light = Light()
        self.evidence = Evidence([stage.channels for stage in self.teacher.pyramid.targets])
        self.fusion = Fusion(list(EVIDENCE.values()))

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
