# SPDX-License-Identifier: Apache-2.0
"""How the kinds of evidence are weighed: by how much each varies among good images that nothing was learned from."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Fusion"]


class Fusion(nn.Module):
    r"""Weights of evidence, each in inverse proportion to its standard deviation among good images.

    An image's verdict hangs on the highest value of its map. So each kind is measured in the standard deviation of just
    that, its highest value in an image, over good images: evidence that is high now here, now there on good parts is
    noise and counts little, and where statistics of positions mean nothing, as for parts that lie anyhow, they drop out
    by themselves. In these units kinds count by shares that are given, not learned: good images cannot tell which kind
    will see a defect.

    Args:
        shares: Share of each kind of evidence; they add up to one.

    Attributes:
        weights: Weights of shape ``(kinds,)`` that add up to one; before :meth:`learn` they are the shares.

    Example:
        >>> fusion = Fusion([0.5, 0.5])
        >>> fusion.learn(torch.tensor([[1.0, 10.0], [2.0, 40.0], [3.0, 70.0]]).view(3, 2, 1, 1))
        >>> [round(weight, 3) for weight in fusion.weights.tolist()]
        [0.968, 0.032]
    """

    weights: Tensor

    def __init__(self, shares: Sequence[float]) -> None:
        super().__init__()
        self.shares = tuple(shares)
        self.register_buffer("weights", torch.tensor(self.shares))

    @torch.no_grad()
    def learn(self, good: Tensor) -> None:
        """Set the weights.

        Args:
            good: Evidence of good images that nothing was learned from, of shape ``(N, kinds, H, W)``. A single one
                does not vary; its highest values then stand for their deviations.
        """
        highest = good.flatten(2).amax(2)
        usual = highest.std(0) if len(highest) > 1 else highest[0]
        # A kind that is the same in all images says nothing about any: it must not say everything.
        known = usual > torch.finfo(usual.dtype).eps * highest.abs().mean(0)
        shares = usual.new_tensor(self.shares)
        weights = torch.where(known, shares / usual, 0)
        self.weights = weights / weights.sum() if known.any() else shares

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
