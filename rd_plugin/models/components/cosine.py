# SPDX-License-Identifier: Apache-2.0
"""The deviation of one feature map from another, position by position or as a whole."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

__all__ = ["cosine_deviation", "flattened_deviation"]

_EPSILON = 1e-8


def _widened(features: Tensor) -> Tensor:
    """Features in float32 at least: one minus a cosine near one would drown in 16 bits."""
    return features.float() if features.dtype in {torch.float16, torch.bfloat16} else features


def cosine_deviation(first: Tensor, second: Tensor) -> Tensor:
    """Return one minus the cosine over channels (Deng and Li, equation 1).

    Args:
        first: Features of shape ``(N, C, H, W)``.
        second: Features of the same shape.

    Returns:
        Deviations of shape ``(N, H, W)`` in float32 or wider, from 0 (same direction) to 2 (opposite); 1 where either
        feature is zero.

    Example:
        >>> features = torch.ones(1, 4, 2, 2)
        >>> cosine_deviation(features, -features).unique()
        tensor([2.])
    """
    first, second = _widened(first), _widened(second)
    # Two norms and one product: no normalized copy of either map, which is what makes F.cosine_similarity slow.
    norms = torch.linalg.vector_norm(first, dim=1) * torch.linalg.vector_norm(second, dim=1)
    return 1 - (first * second).sum(dim=1) / norms.clamp_min(_EPSILON)


def flattened_deviation(first: Tensor, second: Tensor) -> Tensor:
    """Return one minus the cosine over a sample's whole feature map, as in the authors' program.

    Args:
        first: Features of shape ``(N, C, H, W)``.
        second: Features of the same shape.

    Returns:
        Deviations of shape ``(N,)`` in float32 or wider, from 0 (same direction) to 2 (opposite).

    Example:
        >>> features = torch.ones(2, 4, 2, 2)
        >>> flattened_deviation(features, -features)
        tensor([2., 2.])
    """
    return 1 - F.cosine_similarity(_widened(first).flatten(1), _widened(second).flatten(1))
