# SPDX-License-Identifier: Apache-2.0
"""RD++ in anomalib's engine (Tien et al., CVPR 2023)."""

from typing import Any, cast

from anomalib.data import ImageBatch
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from rd_plugin.models.reverse_distillation import ReverseDistillation
from rd_plugin.synthetic import SimplexTwins

from .loss import ProjectionLoss
from .torch_model import RevisitedReverseDistillationModel

__all__ = ["RevisitedReverseDistillation"]

# The authors' weight of the projection's loss.
_PROJECTION = 0.2


class RevisitedReverseDistillation(ReverseDistillation):
    """RD++: reverse distillation with a projection of the teacher's features, trained on noisy twins.

    Each training image gets a twin with simplex noise in a rectangle. Between teacher and bottleneck a projection
    learns to give the same features for both, so that less of an anomaly reaches the student. Teacher, bottleneck,
    student, anomaly map and score are those of :class:`~rd_plugin.models.reverse_distillation.ReverseDistillation`,
    and so is the training of all but the projection; with a plain ViT that is Dinomaly's. Instance norms make features
    depend on the whole image, so tiles change them.

    The weights after the last step are kept; the authors' program keeps those of the epoch that is best on the test
    images.

    Args:
        *network: ``backbone``, ``layers`` and ``pre_trained`` may be given by position.
        optimal_transport: Whether the projection's loss has the paper's term of optimal transport between the maps of
            different images. In the authors' program it is 0, so their published figures do not include its effect.
        projection_learning_rate: The optimizer's learning rate for the projection.
        **arguments: All other arguments of :class:`~rd_plugin.models.reverse_distillation.ReverseDistillation`; as
            ``bottleneck`` all but ``"none"``. Of ``"oce"`` only the coarsest scale is projected.

    Raises:
        ValueError: If an argument is out of range, the backbone is unknown or a layer does not exist.

    Example:
        >>> model = RevisitedReverseDistillation(backbone="resnet18")
        >>> len(model.model.bottleneck.projections)
        3
    """

    network = RevisitedReverseDistillationModel
    model: RevisitedReverseDistillationModel

    def __init__(
        self,
        *network: Any,
        optimal_transport: bool = False,
        projection_learning_rate: float = 0.001,
        **arguments: Any,
    ) -> None:
        super().__init__(*network, **arguments)
        self.projection_learning_rate = projection_learning_rate
        self.projection_loss = ProjectionLoss(optimal_transport)
        self._twins: SimplexTwins | None = None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return bottleneck and student, and the projection at its own learning rate."""
        projected = self.model.bottleneck
        others = [*projected.bottleneck.parameters(), *self.model.student.parameters()]
        return [
            {"params": others, "lr": self.learning_rate},
            {"params": list(projected.projections.parameters()), "lr": self.projection_learning_rate},
        ]

    def on_fit_start(self) -> None:
        """Read the teacher's weights, and choose the noise of this run."""
        super().on_fit_start()
        self._twins = SimplexTwins()

    def training_step(self, batch: ImageBatch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Return the loss of one batch of normal images.

        Returns:
            ``loss``; ``images``, ``twins`` and ``masks`` of the noise.
        """
        del args, kwargs
        images = self.model.network_inputs(cast("Tensor", batch.image))
        twins, masks = self.model.twins_within_roi(images, *cast("SimplexTwins", self._twins)(images))
        teacher, student, *pairs = self.model.distill_twins(self.frozen_features(images, batch), twins)
        distillation = self.loss.scales(teacher, student, self.global_step, self.steps)
        projection = self.projection_loss.scales(*pairs)
        # Scales that are not projected have no such loss.
        projection = [images.new_zeros(())] * (len(teacher) - len(projection)) + projection
        loss = self.total_loss("distillation_loss", distillation, batch)
        loss = loss + _PROJECTION * self.total_loss("projection_loss", projection, batch)
        return {"loss": loss, "images": images, "twins": twins, "masks": masks}
