# SPDX-License-Identifier: Apache-2.0
"""Reverse distillation in anomalib's engine (Deng and Li, CVPR 2022)."""

from typing import Any

from anomalib.data import ImageBatch
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import optim

from rd_plugin.components import BottleneckType
from rd_plugin.models.distillation import Distillation

from .loss import CosineLoss, LossType
from .torch_model import ReverseDistillationModel

__all__ = ["ReverseDistillation"]


class ReverseDistillation(Distillation):
    """RD4AD: anomaly detection via reverse distillation from one-class embedding.

    A frozen teacher extracts features at several scales, a bottleneck embeds them, and a student reconstructs them from
    the embedding alone. Trained on normal images, the student fails on anomalies: where the directions of its features
    and the teacher's differ, the anomaly map is high.

    All defaults follow the paper's recipe as implemented by its authors.

    Args:
        *network: ``backbone``, ``layers`` and ``pre_trained`` may be given by position.
        bottleneck: ``"mff_oce"`` (all scales fused and embedded), ``"oce"`` (the coarsest scale embedded) or ``"none"``
            (the teacher's next stage, not trained): the paper's ablation.
        loss: ``"flattened"`` (the authors' program, published figures) or ``"per_pixel"`` (the paper's equations).
        **arguments: All other arguments of :class:`~rd_plugin.models.distillation.Distillation`.

    Attributes:
        network: Class of the torch module.

    Raises:
        ValueError: If an argument is out of range, the backbone is unknown or a layer does not exist.

    Example:
        >>> model = ReverseDistillation(backbone="resnet18")
        >>> model.model.teacher.pyramid.distilled
        ('layer1', 'layer2', 'layer3')
    """

    network: type[ReverseDistillationModel] = ReverseDistillationModel
    loss: CosineLoss
    default_max_epochs = 200

    def __init__(
        self,
        *network: Any,
        bottleneck: BottleneckType = "mff_oce",
        loss: LossType = "flattened",
        **arguments: Any,
    ) -> None:
        super().__init__(*network, **arguments)
        self.model = self.network(bottleneck=bottleneck, **self.network_arguments)
        self.loss = CosineLoss(loss)

    def configure_optimizers(self) -> optim.Optimizer:
        """Return Adam over bottleneck and student, without the frozen teacher."""
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
