# SPDX-License-Identifier: Apache-2.0
"""How the kinds of evidence are weighted: by what each finds of small synthetic defects on held-out normal images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Fusion"]


class Fusion(nn.Module):
    r"""Weights of the kinds of evidence, fitted to normal images and to twins of them with small synthetic defects.

    An image's score depends on the highest values of its map. So each kind is measured by its highest value in an
    image: in units of its standard deviation :math:`\sigma` over normal images, and by the probability :math:`A` (its
    AUROC) that a twin's is higher than that of a normal image,

    .. math:: w \propto \text{prior} \cdot \max(2A - 1, 0)^2 / \sigma.

    A kind that does not detect the defects, or that is the same in all images, gets no weight.

    Args:
        prior: Prior weight of each kind of evidence; they add up to one.

    Attributes:
        weights: Weights of shape ``(kinds,)`` that add up to one; before :meth:`fit` they are the prior weights.

    Example:
        >>> fusion = Fusion([0.5, 0.5])
        >>> normal = torch.tensor([[1.0, 10.0], [2.0, 40.0], [3.0, 70.0]])
        >>> fusion.fit(normal, twins=normal + torch.tensor([3.0, 0.0]))
        >>> fusion.weights.tolist()
        [1.0, 0.0]
    """

    weights: Tensor

    def __init__(self, prior: Sequence[float]) -> None:
        super().__init__()
        self.prior = tuple(prior)
        self.register_buffer("weights", torch.tensor(self.prior))

    @torch.no_grad()
    def fit(self, normal: Tensor, twins: Tensor) -> None:
        """Set the weights.

        Args:
            normal: Highest value of each kind in normal images that no statistics were computed from, of shape
                ``(N, kinds)``. A single one does not vary; its values then stand for their deviations.
            twins: The same of twins with synthetic defects, of shape ``(M, kinds)``.
        """
        deviation = normal.std(0) if len(normal) > 1 else normal[0]
        varies = deviation > torch.finfo(deviation.dtype).eps * normal.abs().mean(0)
        prior = torch.where(varies, deviation.new_tensor(self.prior) / deviation, 0)
        seen = (twins.unsqueeze(1) - normal).sign().mean((0, 1)).clamp_min(0)
        weights = prior * seen.square()
        # If no kind detects anything, as with too few images, all keep their prior weights.
        weights = weights if weights.sum() > 0 else prior
        self.weights = weights / weights.sum() if weights.sum() > 0 else deviation.new_tensor(self.prior)

    def forward(self, evidence: Tensor, kinds: slice = slice(None)) -> Tensor:
        """Return the root of the weighted sum, since squared distances add up: in the units of a distance.

        Args:
            evidence: Evidence of shape ``(N, kinds, H, W)``.
            kinds: Those that are added; by default all.

        Returns:
            One map, of shape ``(N, H, W)``, at least 0.
        """
        weights = self.weights[kinds].to(evidence.dtype).view(1, -1, 1, 1)
        return (evidence[:, kinds] * weights).sum(1).sqrt()
