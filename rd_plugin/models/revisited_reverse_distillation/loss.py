# SPDX-License-Identifier: Apache-2.0
"""Loss of the projection, from images and their noisy twins (Tien et al., CVPR 2023)."""

from collections.abc import Sequence

from torch import Tensor, nn

from rd_plugin.components import cosine_deviation, flattened_deviation, mean_inside

from .transport import map_transport

__all__ = ["ProjectionLoss"]

# The authors' weights of the three terms, and their sum.
_TRANSPORT, _RECONSTRUCTION, _CONTRAST = 1.0, 0.01, 0.1
_SUM = _TRANSPORT + _RECONSTRUCTION + _CONTRAST
# Cosine below which an image's projected features are far enough from the twin's.
_MARGIN = 0.5


class ProjectionLoss(nn.Module):
    """Train the projection to give the features of the image for its noisy twin, too.

    At each scale, with ``Q`` and ``Q'`` the projected features of image and twin and ``T'`` the teacher's of the twin::

        (S(Q, R) + 0.01 mean(1 - cos(Q', Q)) + 0.1 mean(max(0, cosflat(T', Q) - 0.5))) / 1.11

    where ``cos`` runs over the channels at a position and ``cosflat`` over a sample's whole feature map. ``S`` is the
    optimal transport between the maps of different images, ``R`` being ``Q`` of the batch's next image; see
    :func:`~rd_plugin.models.revisited_reverse_distillation.transport.map_transport`. In the authors' program this term
    is 0 whatever the features are, since it compares the set of a batch's maps with the same set in another order; so
    it is left out by default.

    Args:
        optimal_transport: Whether ``S`` is computed.
    """

    def __init__(self, optimal_transport: bool = False) -> None:
        super().__init__()
        self.optimal_transport = optimal_transport

    def scales(
        self, projected: Sequence[Tensor], projected_twins: Sequence[Tensor], teacher_twins: Sequence[Tensor]
    ) -> list[Tensor]:
        """Return the loss of each scale, fine to coarse; arguments as in :meth:`forward`."""
        losses = []
        for image, twin, noisy in zip(projected, projected_twins, teacher_twins, strict=True):
            reconstruction = mean_inside(cosine_deviation(twin, image), image)
            contrast = (1 - _MARGIN - flattened_deviation(noisy, image)).clamp_min(0).mean()
            loss = _RECONSTRUCTION * reconstruction + _CONTRAST * contrast
            if self.optimal_transport:
                loss = loss + _TRANSPORT * map_transport(image, image.roll(1, dims=0)).mean()
            losses.append(loss / _SUM)
        return losses

    def forward(
        self, projected: Sequence[Tensor], projected_twins: Sequence[Tensor], teacher_twins: Sequence[Tensor]
    ) -> Tensor:
        """Return the loss.

        Args:
            projected: Projected features of images, of shapes ``(N, C_l, H_l, W_l)``.
            projected_twins: Those of their twins, of the same shapes.
            teacher_twins: The teacher's features of the twins, of the same shapes.

        Returns:
            Scalar of at least 0.
        """
        losses = self.scales(projected, projected_twins, teacher_twins)
        return sum(losses, start=losses[0].new_zeros(()))
