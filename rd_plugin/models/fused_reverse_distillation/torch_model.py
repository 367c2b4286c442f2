# SPDX-License-Identifier: Apache-2.0
"""Fused reverse distillation as a torch module."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from anomalib.data import InferenceBatch
from torch import Tensor, nn

from rd_plugin.components import Registration
from rd_plugin.models.reverse_distillation import ReverseDistillationModel

from .brightness import BrightnessNormalization
from .evidence import EVIDENCE, evidence_for
from .fusion import Fusion

__all__ = ["FusedReverseDistillationModel"]

# Of the kinds of evidence the last one is that of the image as a whole.
_OF_A_POSITION, _OF_THE_WHOLE = slice(0, -1), slice(-1, None)


class FusedReverseDistillationModel(ReverseDistillationModel):
    """Reverse distillation whose map and score are fused from the student's error and the teacher's own features.

    Until it has statistics of normal images it is plain reverse distillation: the map is the cosine's, and images go
    through the networks as they are.

    Args:
        *network: As those of :class:`~rd_plugin.models.reverse_distillation.ReverseDistillationModel`.
        **arguments: Likewise, except ``deviation`` and ``anomaly_map_mode``.

    Raises:
        ValueError: If an argument is out of range; see the components.
    """

    of_parts: nn.ModuleList | None

    def __init__(self, *network: Any, **arguments: Any) -> None:
        super().__init__(*network, **arguments)
        self.brightness = BrightnessNormalization()
        self.evidence = evidence_for(self.teacher)
        self.fusion = Fusion(list(EVIDENCE.values()))
        self.register_load_state_dict_pre_hook(_restore_version_0_2)

    def set_parts(self, names: Sequence[str]) -> None:
        """Make room for evidence and weights of each of several parts; those of the same parts stay.

        Args:
            names: Names of the parts; empty for one evidence of all.
        """
        if tuple(names) == self.parts:
            return
        device = self.fusion.weights.device
        own = [nn.ModuleList([evidence_for(self.teacher), Fusion(list(EVIDENCE.values()))]) for _ in names]
        self.add_module("of_parts", nn.ModuleList(own).to(device) if own else None)
        self.parts = tuple(names)

    @contextmanager
    def as_part(self, part: str) -> Iterator[None]:
        """Use evidence and weights of a part within this block, if each part has its own.

        Args:
            part: Its name.
        """
        if not self.parts:
            yield
            return
        names, of_parts, common = self.parts, self.of_parts, (self.evidence, self.fusion)
        self.evidence, self.fusion = cast("Any", of_parts)[names.index(part)]
        # So that an export holds no more than it needs.
        self.parts, self.of_parts = (), None
        try:
            yield
        finally:
            self.evidence, self.fusion = common
            self.parts, self.of_parts = names, of_parts

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state of a pickled module, which in a torch export may be of version 0.2."""
        super().__setstate__(state)
        if hasattr(self, "light"):
            self.add_module("brightness", self.get_submodule("light"))
            del self.light

    def network_inputs(self, images: Tensor) -> Tensor:
        """Return what goes through the networks: images of normalized brightness, or their tiles."""
        return super().network_inputs(self.brightness(self.within_roi(images)))

    def distill_features(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the features of teacher and student; a vision transformer's tokens follow the teacher's scales."""
        teacher, student = super().distill_features(features)
        return [*teacher, *features[len(teacher) :]] if self.evidence.one_grid else teacher, student

    def deviations(self, images: Tensor) -> list[Tensor]:
        """Return the student's deviations from the teacher, of shapes ``(N, H_l, W_l)``, fine to coarse."""
        teacher, student = self.distill(images)
        return self.deviation(teacher[: len(student)], student)

    def predict_aligned(self, images: Tensor, registration: Registration | None = None) -> InferenceBatch:
        """Return predictions for images whose part is in its usual position.

        The map shows the evidence of positions. That of the image as a whole has no position, and is added in the
        score: squares add up here, too.

        Args:
            images: As :meth:`~rd_plugin.models.distillation.DistillationModel.predict` takes them.
            registration: Where the parts were, if they were moved.

        Returns:
            Anomaly maps of shape ``(N, 1, H, W)`` and scores of shape ``(N, 1)``.

        Raises:
            ValueError: If images are of another size than those of the training.
        """
        if not self.evidence.is_fitted:
            return super().predict_aligned(images, registration)
        evidence = self.find_evidence(*self.distill(self.network_inputs(images)))
        return self.fuse(evidence, images.shape[-2:], registration)

    def find_evidence(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
        """Return the evidence of images or tiles, of shape ``(N, kinds, H, W)``: 0 outside the region of interest.

        Args:
            teacher: Features as :meth:`distill` returns them.
            student: Likewise.

        Raises:
            ValueError: As :meth:`~rd_plugin.models.fused_reverse_distillation.evidence.Evidence.forward`.
        """
        evidence = self.evidence(teacher, student)
        inside = self.inside(evidence)
        if inside is None:
            return self.evidence.calibrated(evidence)
        # A tile without any of the region is no evidence of the image as a whole.
        anywhere = inside.flatten(1).any(1)[:, None, None, None]
        of_position, of_whole = evidence[:, _OF_A_POSITION], evidence[:, _OF_THE_WHOLE]
        evidence = torch.cat([torch.where(inside, of_position, 0), torch.where(anywhere, of_whole, 0)], dim=1)
        return self.evidence.calibrated(evidence, inside)

    def fuse(self, evidence: Tensor, size: Sequence[int], registration: Registration | None = None) -> InferenceBatch:
        """Return predictions from evidence.

        Args:
            evidence: Of images, or of their tiles, of shape ``(N, kinds, H, W)``.
            size: Height and width of the images, in pixels.
            registration: Where the parts were, if they were moved.

        Returns:
            Anomaly maps of shape ``(N, 1, *size)`` and scores of shape ``(N, 1)``.
        """
        anomaly_map = self.anomaly_map([self.fusion(evidence, _OF_A_POSITION)], size, registration)
        # It is the same at each position; of the tiles of an image the highest counts.
        whole = self.fusion(evidence[..., :1, :1], _OF_THE_WHOLE).flatten()
        whole = whole.unflatten(0, (-1, 1 if self.tiler is None else self.tiler.count(size))).amax(1, keepdim=True)
        score = torch.linalg.vector_norm(torch.cat([self.image_score(anomaly_map), whole], dim=1), dim=1, keepdim=True)
        return InferenceBatch(pred_score=score, anomaly_map=anomaly_map)


def _restore_version_0_2(model: FusedReverseDistillationModel, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Load a checkpoint of version 0.2, which had other names and one kind of evidence less."""
    weights = f"{prefix}fusion.weights"
    if weights in state:
        model.fusion.weights = torch.empty_like(state[weights], device=model.fusion.weights.device)
    for key in [key for key in state if key.startswith(f"{prefix}light.")]:
        state[f"{prefix}brightness.{key.removeprefix(f'{prefix}light.')}"] = state.pop(key)


# Torch exports of version 0.2 look for it by this name.
_without_regions = _restore_version_0_2
