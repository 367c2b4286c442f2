# SPDX-License-Identifier: Apache-2.0
"""How the kinds of evidence are weighed: by good images that were held back, and synthetic anomalies on them."""

from itertools import product

import torch
from torch import Tensor, nn

__all__ = ["Fusion"]

# Candidates are all weights that are multiples of one over this and add up to one.
_PARTS = 4
# Draws of the bootstrap, and how sure it must be that other weights are better than the usual ones, by how much. By
# less, synthetic anomalies say more about themselves: they favour the teacher's features on all data that we have.
_DRAWS, _CONFIDENCE, _MARGIN = 200, 0.95, 0.02


class Fusion(nn.Module):
    """Non-negative weights over evidence, each in units of its standard deviation on good images.

    Squared distances add up as log-likelihoods do, so the weights are a sum's. The usual ones are equal over kinds that
    have statistics, and half as much for the one without, the cosine, which holds where positions mean little. Others
    are taken if they find synthetic anomalies on held-back good images clearly better, by a bootstrap over the images.

    Args:
        kinds: Number of kinds of evidence; the last is the one without statistics.

    Attributes:
        weights: Weights of shape ``(kinds,)`` that add up to one.
        scale: Standard deviation of each kind on good images, of the same shape.
    """

    weights: Tensor
    scale: Tensor

    def __init__(self, kinds: int) -> None:
        super().__init__()
        self.register_buffer("weights", _usual(kinds))
        self.register_buffer("scale", torch.ones(kinds))

    @torch.no_grad()
    def learn(self, good: Tensor, twins: Tensor) -> None:
        """Set weights and scale.

        Args:
            good: Evidence of good images that nothing was learned from, of shape ``(N, kinds, H, W)``.
            twins: Evidence of synthetic anomalies on the same images, of shape ``(T, N, kinds, H, W)``: T on each.
        """
        kinds = good.shape[1]
        spread = good.transpose(0, 1).flatten(1).std(1, correction=0)
        self.scale = spread.where(spread > 0, torch.ones_like(spread))
        usual = _usual(kinds).to(self.scale)
        candidates = [usual] + [
            usual.new_tensor(parts) / _PARTS
            for parts in product(range(_PARTS + 1), repeat=kinds)
            if sum(parts) == _PARTS
        ]
        weights = torch.stack(candidates)
        order = _found(
            self._scores(good, weights), self._scores(twins.flatten(0, 1), weights).view(len(weights), *twins.shape[:2])
        )
        best = int(order.mean((1, 2)).argmax())
        self.weights = weights[best] if _surely_better(order[best], order[0]) else weights[0]

    def _scores(self, evidence: Tensor, weights: Tensor) -> Tensor:
        """Image scores ``(W, N)`` under each of W weights, of evidence ``(N, kinds, H, W)``."""
        maps = torch.einsum("wk,nkp->wnp", weights / self.scale, evidence.flatten(2))
        return maps.amax(-1)

    def forward(self, evidence: Tensor) -> Tensor:
        """Return one map, of shape ``(N, H, W)``, for evidence of shape ``(N, kinds, H, W)``.

        The root of the weighted sum: monotone in it, and in the units of a distance.
        """
        weights = (self.weights / self.scale).to(evidence.dtype).view(1, -1, 1, 1)
        return (evidence * weights).sum(1).sqrt()


def _usual(kinds: int) -> Tensor:
    weights = torch.ones(kinds)
    weights[-1] = 0.5
    return weights / weights.sum()


def _found(good: Tensor, twins: Tensor) -> Tensor:
    """How often a twin's score is above a good image's, of shape ``(W, N, N)``: of image i's twins above image j.

    Its mean is the area under the ROC curve.

    Args:
        good: Scores ``(W, N)``.
        twins: Scores ``(W, T, N)``.
    """
    above = twins.unsqueeze(-1) > good[:, None, None]
    equal = twins.unsqueeze(-1) == good[:, None, None]
    return (above.float() + equal.float() / 2).mean(1)


def _surely_better(ours: Tensor, theirs: Tensor) -> bool:
    """Whether the mean of ``(N, N)`` is clearly higher in nearly all draws of images, with all that belongs to each."""
    difference = ours - theirs
    count = len(difference)
    draws = torch.randint(count, (_DRAWS, count), generator=torch.Generator().manual_seed(0)).to(difference.device)
    means = torch.stack([difference[draw][:, draw].mean() for draw in draws])
    return float((means > _MARGIN).float().mean()) >= _CONFIDENCE
