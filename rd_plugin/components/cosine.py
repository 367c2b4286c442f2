# SPDX-License-Identifier: Apache-2.0
"""The deviation of one feature map from another, position by position or as a whole."""

import torch
from torch import Tensor

from .precision import widened

__all__ = ["cosine_deviation", "flattened_deviation", "mean_inside"]

_EPSILON = 1e-8


def _deviation(first: Tensor, second: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """One minus the cosine over ``dim``."""
    first, second = widened(first), widened(second)
    # Two norms and one product, in the layout of the features: F.cosine_similarity is slow because it makes normalized
    # or flattened copies, which it also keeps for the backward pass.
    norms = torch.linalg.vector_norm(first, dim=dim) * torch.linalg.vector_norm(second, dim=dim)
    return 1 - (first * second).sum(dim=dim) / norms.clamp_min(_EPSILON)


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
    return _deviation(first, second, 1)


def mean_inside(values: Tensor, features: Tensor) -> Tensor:
    """Return the mean over the positions inside the region of interest.

    Args:
        values: Values of shape ``(N, H, W)``.
        features: Features of shape ``(N, C, H, W)``, which are all zero at a position outside.

    Example:
        >>> mean_inside(torch.tensor([[[1.0, 2.0, 6.0]]]), torch.tensor([[[[3.0, 3.0, 0.0]]]]))
        tensor(1.5000)
    """
    inside = features.any(1)
    return torch.where(inside, values, 0).sum() / inside.sum().clamp_min(1)


def flattened_deviation(first: Tensor, second: Tensor) -> Tensor:
    """Return one minus the cosine over a sample's whole feature map, as in the authors' program.

    Args:
        first: Features of shape ``(N, C, H, W)``.
        second: Features of the same shape.

    Returns:
        Deviations of shape ``(N,)`` in float32 or wider, from 0 (same direction) to 2 (opposite); 1 for a sample whose
        features are all zero.

    Example:
        >>> features = torch.ones(2, 4, 2, 2)
        >>> flattened_deviation(features, -features)
        tensor([2., 2.])
    """
    return _deviation(first, second, (1, 2, 3))
