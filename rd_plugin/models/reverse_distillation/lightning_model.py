# SPDX-License-Identifier: Apache-2.0
"""Reverse distillation in anomalib's engine (Deng and Li, CVPR 2022)."""

from typing import Any

from anomalib.data import ImageBatch
from lightning.pytorch.utilities.types import STEP_OUTPUT, OptimizerLRScheduler

from rd_plugin.components import BottleneckType, TokenBottleneckType
from rd_plugin.models.distillation import Distillation
from rd_plugin.models.distillation.token_training import token_optimizer

from .hard_mining import MiningType
from .loss import CosineLoss, LossType
from .torch_model import ReverseDistillationModel

__all__ = ["ReverseDistillation"]


class ReverseDistillation(Distillation):
    """RD4AD: anomaly detection via reverse distillation from one-class embedding; for a plain ViT Dinomaly.

    A frozen teacher extracts features at several scales, a bottleneck embeds them, and a student reconstructs them from
    the embedding alone. Trained on normal images, the student fails on anomalies: where the directions of its features
    and the teacher's differ, the anomaly map is high.

    All defaults follow the papers' recipes as implemented by their authors: for a teacher with a feature pyramid RD4AD
    (Deng and Li, CVPR 2022), for a plain vision transformer Dinomaly (Guo et al., CVPR 2025).

    Args:
        *network: ``backbone``, ``layers`` and ``pre_trained`` may be given by position.
        bottleneck: ``"mff_oce"`` (all scales fused and embedded), ``"oce"`` (the coarsest scale embedded) or ``"none"``
            (the teacher's next stage, not trained): the paper's ablation. For a ViT ``"noisy"``, or ``"narrow"``, that
            of Dinomaly2. By default the first of each.
        loss: ``"flattened"`` (the authors' program, published figures) or ``"per_pixel"`` (the paper's equations).
        hard_mining: Which positions contribute less to the gradient, because the student reconstructs them well:
            ``"off"``, ``"share"`` (Dinomaly, the default for a ViT) or ``"deviation"`` (ReContrast).
        dropout: Probability of dropout: for a ViT in the bottleneck, by default 0.2 (the authors use 0.4 for many
            varied parts); for other teachers of values of the embedding, by default 0.
        student_depth: For a ViT: number of the student's blocks.
        recentred: For a ViT: whether the student learns patches less the class token, normalized (Dinomaly2).
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
    model: ReverseDistillationModel
    loss: CosineLoss
    default_max_epochs = 200

    def __init__(
        self,
        *network: Any,
        bottleneck: BottleneckType | TokenBottleneckType | None = None,
        loss: LossType = "flattened",
        hard_mining: MiningType | None = None,
        dropout: float | None = None,
        student_depth: int = 8,
        recentred: bool = False,
        **arguments: Any,
    ) -> None:
        super().__init__(*network, **arguments)
        self.model = self.network(
            bottleneck=bottleneck,
            dropout=dropout,
            student_depth=student_depth,
            recentred=recentred,
            **self.network_arguments,
        )
        mining: MiningType = hard_mining or ("share" if self.is_vit else "off")
        self.hparams.update(bottleneck=self.model.bottleneck_kind, hard_mining=mining, dropout=self.model.dropout)
        self.loss = CosineLoss(loss, mining, mean=self.is_vit)
        if self.is_vit:
            self.default_max_epochs, self.default_max_steps = self.vit_length

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return what is trained, bottleneck and student, in groups of one learning rate each."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return [{"params": trained, "lr": self.learning_rate}]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return Adam over bottleneck and student, without the frozen teacher; for a ViT StableAdamW and a schedule."""
        if not self.is_vit:
            return self.adam(self.parameter_groups(), self.learning_rate)
        optimizer, schedule = token_optimizer(self.parameter_groups(), self.betas, int(self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: ImageBatch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Return the loss of one batch of normal images.

        Args:
            batch: The images.
            *args: Not used.
            **kwargs: Not used.
        """
        del args, kwargs
        teacher, student = self.distill_batch(batch)
        # A teacher may give more than what is reconstructed: tokens of the image as a whole.
        scales = self.loss.scales(teacher[: len(student)], student, self.global_step, self.steps)
        return self.total_loss("train_loss", scales, batch)
