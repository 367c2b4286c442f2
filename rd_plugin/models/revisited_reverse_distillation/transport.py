# SPDX-License-Identifier: Apache-2.0
"""Optimal transport between feature maps: the debiased Sinkhorn divergence (Feydy et al., AISTATS 2019)."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

__all__ = ["map_transport", "sinkhorn_divergence"]

# Standard deviation of the entropy's blur, as a fraction of the maps' sides.
_BLUR = 0.05
# Positions along each axis that maps are pooled to: about one blur apart.
_GRID = 16


def _soft_minimum(cost: Tensor, log_weights: Tensor, potential: Tensor | float, epsilon: float) -> Tensor:
    """Potentials of shape ``(B, N)`` for costs ``(..., N, M)``, and log weights and potentials ``(B, M)``."""
    return -epsilon * (log_weights[:, None] + (potential - cost) / epsilon).logsumexp(-1)


def sinkhorn_divergence(
    weights: tuple[Tensor, Tensor],
    costs: tuple[Tensor, Tensor, Tensor],
    blur: float = _BLUR,
    diameter: float = 1.0,
    scaling: float = 0.5,
) -> Tensor:
    """Return ``OT(a, b) - OT(a, a) / 2 - OT(b, b) / 2`` of entropic optimal transport with quadratic cost.

    The potentials come from Sinkhorn's iterations while the entropy falls from the diameter to the blur, as in the
    package geomloss. Gradients reach the weights, not the costs.

    Args:
        weights: Two measures of shapes ``(B, N)`` and ``(B, M)``, each of sum 1.
        costs: Half the squared distances between points of both, of the first, and of the second, of shapes
            ``(N, M)``, ``(N, N)`` and ``(M, M)``.
        blur: Standard deviation of the entropy's blur; the entropy's weight is its square.
        diameter: Largest distance of two points, or more.
        scaling: By how much the blur falls in each iteration, in (0, 1); near 1 it is slow and exact.

    Returns:
        Divergences of shape ``(B,)``, at least 0; 0 for equal measures.

    Example:
        >>> points = torch.tensor([0.0, 1.0])
        >>> cost = (points[:, None] - points).square() / 2
        >>> left, right = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> float(sinkhorn_divergence((left, right), (cost, cost, cost)))
        0.5
    """
    first, second = weights
    with torch.no_grad():
        across, within_first, within_second = costs
        log_first, log_second = first.log(), second.log()
        steps = math.ceil(math.log(blur / diameter) / math.log(scaling))
        blurs = [diameter, *(diameter * scaling**step for step in range(steps)), blur]
        f, g, p, q = (
            _soft_minimum(across, log_second, 0, diameter**2),
            _soft_minimum(across.mT, log_first, 0, diameter**2),
            _soft_minimum(within_first, log_first, 0, diameter**2),
            _soft_minimum(within_second, log_second, 0, diameter**2),
        )
        # The last step is taken whole, not by half, and meets the condition of an optimum.
        for epsilon, share in [*((each**2, 0.5) for each in blurs), (blur**2, 1.0)]:
            new = (
                _soft_minimum(across, log_second, g[:, None], epsilon),
                _soft_minimum(across.mT, log_first, f[:, None], epsilon),
                _soft_minimum(within_first, log_first, p[:, None], epsilon),
                _soft_minimum(within_second, log_second, q[:, None], epsilon),
            )
            f, g, p, q = (old.lerp(other, share) for old, other in zip((f, g, p, q), new, strict=True))
    # By the envelope theorem these are the derivatives, too.
    return (first * (f - p)).sum(-1) + (second * (g - q)).sum(-1)


def map_transport(features: Tensor, others: Tensor) -> Tensor:
    """Return the divergence between the feature maps of two images, as histograms over positions.

    The softmax over a sample's whole map gives each value a weight; a position has the sum over channels. Positions are
    at most 16 x 16, distances are in units of the map's sides.

    Args:
        features: Features of shape ``(N, C, H, W)``.
        others: Features of other images, of the same shape.

    Returns:
        Divergences of shape ``(N,)``, at least 0.
    """
    height, width = (min(_GRID, side) for side in features.shape[-2:])
    weights = []
    for each in (features, others):
        shares = each.float().flatten(1).softmax(1).view_as(each).sum(1, keepdim=True)
        pooled = F.adaptive_avg_pool2d(shares, (height, width)).flatten(1)
        weights.append(pooled / pooled.sum(1, keepdim=True))
    rows, columns = ((torch.arange(side, device=features.device) + 0.5) / side for side in (height, width))
    points = torch.cartesian_prod(rows, columns).view(-1, 2)
    cost = (points[:, None] - points).square().sum(-1) / 2
    return sinkhorn_divergence((weights[0], weights[1]), (cost, cost, cost))
