# SPDX-License-Identifier: Apache-2.0
"""Fused reverse distillation in anomalib's engine."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback

from rd_plugin.models.reverse_distillation import ReverseDistillation

from .learning import LearnNormality, describe
from .light import LightType
from .torch_model import FusedReverseDistillationModel

__all__ = ["FusedReverseDistillation"]

# What the fusion decides by itself.
_DECIDED = {"deviation": "cosine", "anomaly_map_mode": "add"}


class FusedReverseDistillation(ReverseDistillation):
    """Reverse distillation, fused with what else the same forward pass tells.

    A student learns as in :class:`~rd_plugin.models.ReverseDistillation`, in few steps. An anomaly is where its
    error, or the teacher's features themselves, are unlikely among good images: squared Mahalanobis distances over
    all scales joined, from statistics that are each position's own as far as held-back good images bear out, at
    positions, in regions of them, and of the image as a whole. Each kind of evidence weighs by how little it varies
    among held-back good images. Other light, focus, place, noise and JPEG are taught to be usual. Nothing is ever
    learned from a label or a test image. Images must have one size.

    Args:
        *network: ``backbone``, ``layers`` and ``pre_trained`` may be given by position.
        light: How far the brightness of each image is evened, from 0 (not at all) to 1 (all alike), or ``"auto"``: as
            good images suggest.
        validations: At most how many validations there are on the way, by default none but that at the end: each needs
            all training images once more.
        **arguments: All others of :class:`~rd_plugin.models.ReverseDistillation`, save ``deviation`` and
            ``anomaly_map_mode``, which the fusion stands in place of.

    Raises:
        ValueError: If an argument is out of range, the backbone is unknown or a layer does not exist.

    Example:
        >>> model = FusedReverseDistillation(backbone="resnet18")
        >>> model.model.evidence.known
        False
    """

    network = FusedReverseDistillationModel
    model: FusedReverseDistillationModel
    default_max_epochs = -1
    default_max_steps = 200

    def __init__(
        self,
        *network: Any,
        light: LightType = "auto",
        validations: int | None = 1,
        **arguments: Any,
    ) -> None:
        super().__init__(*network, validations=validations, **arguments)
        for name, value in _DECIDED.items():
            if self.network_arguments[name] != value:
                msg = f"{name} {self.network_arguments[name]!r}: this model fuses all evidence by itself; leave it out."
                raise ValueError(msg)
        if light != "auto" and not (isinstance(light, (int, float)) and 0 <= light <= 1):
            msg = f"light must be 'auto' or a strength in [0, 1], got {light!r}."
            raise ValueError(msg)
        self.light: LightType = light

    def configure_callbacks(self) -> Sequence[Callback]:
        """Return the callbacks of all methods, and what learns from good images."""
        return [*super().configure_callbacks(), LearnNormality(self.light)]

    def learned_settings(self) -> dict[str, Any]:
        """Return shares, weights and strength of evening, as the record states them; empty before a training."""
        return describe(self.model)
