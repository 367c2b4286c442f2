# SPDX-License-Identifier: Apache-2.0
"""Fused reverse distillation in anomalib's engine."""

from collections.abc import Sequence
from typing import Any

from anomalib.data import ImageBatch
from lightning.pytorch import Callback
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import optim

from rd_plugin.components import BottleneckType
from rd_plugin.models.distillation import Distillation
from rd_plugin.models.reverse_distillation.loss import CosineLoss, LossType

from .learning import LearnNormality, describe
from .light import LightType
from .torch_model import FusedReverseDistillationModel

__all__ = ["FusedReverseDistillation"]

# What the fusion decides by itself.
_DECIDED = {"deviation": "cosine", "anomaly_map_mode": "add"}


class FusedReverseDistillation(Distillation):
    """Reverse distillation, fused with what else the same forward pass tells.

    A student learns as in :class:`~rd_plugin.models.ReverseDistillation`, in few steps. An anomaly is where its error,
    or the teacher's features themselves, are unlikely among good images: squared Mahalanobis distances over all scales
    joined, from statistics that are each position's own as far as held-back good images bear out. Weights come from
    synthetic anomalies on those, light is evened if that makes them likelier; nothing is ever learned from a label or a
    test image. Images must have one size.

    Args:
        *network: ``backbone``, ``layers`` and ``pre_trained`` may be given by position.
        bottleneck: ``"mff_oce"`` (all scales fused and embedded), ``"oce"`` (the coarsest scale embedded) or ``"none"``
            (the teacher's next stage, not trained).
        loss: ``"flattened"`` or ``"per_pixel"``, as in reverse distillation.
        light: How far the brightness of each image is evened, from 0 (not at all) to 1 (all alike), or ``"auto"``: as
            good images suggest.
        **arguments: All others of :class:`~rd_plugin.models.distillation.Distillation`, save ``deviation`` and
            ``anomaly_map_mode``, which the fusion stands in place of.

    Raises:
        ValueError: If an argument is out of range, the backbone is unknown or a layer does not exist.

    Example:
        >>> model = FusedReverseDistillation(backbone="resnet18")
        >>> model.model.evidence.known
        False
    """

    model: FusedReverseDistillationModel
    loss: CosineLoss
    default_max_steps = 200

    def __init__(
        self,
        *network: Any,
        bottleneck: BottleneckType = "mff_oce",
        loss: LossType = "flattened",
        light: LightType = "auto",
        **arguments: Any,
    ) -> None:
        super().__init__(*network, **arguments)
        for name, value in _DECIDED.items():
            if self.network_arguments[name] != value:
                msg = f"{name} {self.network_arguments[name]!r}: this model fuses all evidence by itself; leave it out."
                raise ValueError(msg)
        if light != "auto" and not (isinstance(light, (int, float)) and 0 <= light <= 1):
            msg = f"light must be 'auto' or a strength in [0, 1], got {light!r}."
            raise ValueError(msg)
        self.model = FusedReverseDistillationModel(bottleneck=bottleneck, **self.network_arguments)
        self.loss = CosineLoss(loss)
        self.light: LightType = light

    def configure_callbacks(self) -> Sequence[Callback]:
        """Return the callbacks of all methods, and what learns from good images."""
        return [*super().configure_callbacks(), LearnNormality(self.light)]

    def learned_settings(self) -> dict[str, Any]:
        """Return shares, weights and strength of evening, as the record states them; empty before a training."""
        return describe(self.model)

    def configure_optimizers(self) -> optim.Optimizer:
        """Return Adam over bottleneck and student; the frozen teacher is not among its parameters."""
        return self.adam(self.model.parameters(), self.learning_rate)

    def training_step(self, batch: ImageBatch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Return the loss of one batch of normal images.

        Args:
            batch: The images.
            *args: Not used.
            **kwargs: Not used.
        """
        del args, kwargs
        return self.finish_loss("train_loss", self.loss.scales(*self.distill_batch(batch)), batch)
