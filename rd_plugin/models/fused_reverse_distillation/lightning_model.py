# SPDX-License-Identifier: Apache-2.0
"""Fused reverse distillation in anomalib's engine."""

import logging
from collections.abc import Sequence
from typing import Any, Literal, get_args

from lightning.pytorch import Callback

from rd_plugin.models.reverse_distillation import ReverseDistillation
from rd_plugin.provenance import Provenance

from .brightness import BrightnessType
from .statistics import FusedStatistics, describe
from .torch_model import FusedReverseDistillationModel

__all__ = ["FusedReverseDistillation"]

logger = logging.getLogger(__name__)

StatisticsType = Literal["per_part", "shared"]

# What the fusion determines itself.
_DECIDED = {"deviation": "cosine", "anomaly_map_mode": "add", "map_size": None}


class FusedReverseDistillation(ReverseDistillation):
    """Reverse distillation, fused with other evidence from the same forward pass.

    A student is trained as in :class:`~rd_plugin.models.ReverseDistillation`, in few steps. An anomaly is where its
    error, or the teacher's features themselves, are unlikely among normal images: squared Mahalanobis distances over
    all scales joined, at positions, in regions, compared with the rest of the image, and of the whole image. The
    statistics are each position's own as far as held-out normal images support it. The weight of each kind of evidence
    is fitted to small synthetic defects in held-out normal images. Lighting, focus, position, noise and JPEG
    compression are perturbations that do not count as defects. No label and no test image is ever used. Images must
    have one size.

    Args:
        *network: ``backbone``, ``layers`` and ``pre_trained`` may be given by position.
        brightness: How far the brightness of each image is normalized, from 0 (not at all) to 1 (all alike), or
            ``"auto"``: as normal images suggest.
        statistics: Of a model for several parts: ``"per_part"``, each has its own, or ``"shared"`` by all of them. The
            former take memory for each part in checkpoints, not in exports, which are of one part. A training that
            continues from a checkpoint keeps the kind that it has.
        statistics_bytes: With ``"per_part"``: how much memory they may take; with more parts they are shared, with a
            warning.
        blur_sigma: As in :class:`~rd_plugin.models.distillation.Distillation`. Statistics have averaged already what a
            blur would, so it is narrower here.
        score: As in :class:`~rd_plugin.models.distillation.Distillation`, by default that of 4 areas.
        validations: Maximum number of validations before the one at the end, by default none: each needs all training
            images once more.
        **arguments: All others of :class:`~rd_plugin.models.ReverseDistillation`, except ``deviation``,
            ``anomaly_map_mode`` and ``map_size``, which the fusion replaces. ``light``, the name of ``brightness`` in
            version 0.2, still works.

    Raises:
        ValueError: If an argument is out of range, the backbone is unknown or a layer does not exist.

    Example:
        >>> model = FusedReverseDistillation(backbone="resnet18")
        >>> model.model.evidence.is_fitted
        False
    """

    network = FusedReverseDistillationModel
    model: FusedReverseDistillationModel
    default_max_epochs = -1
    default_max_steps = 400
    vit_length = (-1, 400)
    # A defect rarely covers a single area, and the mean of several is less noisy than the highest pixel.
    defaults = {**ReverseDistillation.defaults, "score": 4}  # noqa: RUF012
    vit_defaults = {**ReverseDistillation.vit_defaults, **_DECIDED, "score": 4}  # noqa: RUF012

    def __init__(
        self,
        *network: Any,
        brightness: BrightnessType = "auto",
        statistics: StatisticsType = "per_part",
        statistics_bytes: int = 2 * 2**30,
        blur_sigma: float = 1.0,
        validations: int | None = 1,
        **arguments: Any,
    ) -> None:
        brightness = arguments.pop("light", brightness)
        super().__init__(*network, blur_sigma=blur_sigma, validations=validations, **arguments)
        for name, value in _DECIDED.items():
            if self.network_arguments[name] != value:
                msg = f"{name} {self.network_arguments[name]!r}: this model fuses all evidence itself; omit it."
                raise ValueError(msg)
        if brightness != "auto" and not (isinstance(brightness, (int, float)) and 0 <= brightness <= 1):
            msg = f"brightness must be 'auto' or a strength in [0, 1], got {brightness!r}."
            raise ValueError(msg)
        self.brightness: BrightnessType = brightness
        if statistics not in get_args(StatisticsType):
            msg = f"statistics must be 'per_part' or 'shared', got {statistics!r}."
            raise ValueError(msg)
        self.statistics: StatisticsType = statistics
        self.statistics_bytes = statistics_bytes

    def on_fit_start(self) -> None:
        """Make room for statistics of each part, before a training."""
        super().on_fit_start()
        parts = getattr(self.post_processor, "parts", ())
        own = self.statistics == "per_part"
        # Statistics from a checkpoint stay of their kind: if no step follows, none are computed again.
        if parts and (self.model.parts or self.model.evidence.is_fitted):
            own = bool(self.model.parts)
            logger.info("Statistics stay %s, as in the checkpoint.", "of each part" if own else "shared by all parts")
        self.model.set_parts(parts if own else ())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make room for the statistics of each part that a checkpoint holds, and do what all methods do."""
        record = Provenance.of(checkpoint) or Provenance()
        own = any(name.startswith("model.of_parts.") for name in checkpoint["state_dict"])
        self.model.set_parts(tuple(record.parts) if own else ())
        super().on_load_checkpoint(checkpoint)

    def configure_callbacks(self) -> Sequence[Callback]:
        """Return the callbacks of all methods, and what computes statistics of normal images."""
        return [*super().configure_callbacks(), FusedStatistics(self.brightness, self.statistics_bytes)]

    def learned_settings(self) -> dict[str, Any]:
        """Return shrinkage, weights and brightness, as the record states them; empty before a training."""
        if not self.model.parts:
            return describe(self.model)
        found = {}
        for part in self.model.parts:
            with self.model.as_part(part):
                found[part] = describe(self.model)
        return found if any(found.values()) else {}
