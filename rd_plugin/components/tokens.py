# SPDX-License-Identifier: Apache-2.0
"""Where a vision transformer's tokens become maps, and maps become tokens again."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["grouped", "join_tokens", "mean_of", "split_tokens"]


def split_tokens(tokens: Tensor, size: Sequence[int]) -> Tensor:
    """Return the patch tokens as a map; the tokens before them (class, registers) are left out.

    Args:
        tokens: Tokens of shape ``(N, P + H W, C)``.
        size: Height and width of the grid of patches.

    Returns:
        Map of shape ``(N, C, H, W)``, channels last in memory.

    Example:
        >>> split_tokens(torch.zeros(2, 5 + 12, 8), (3, 4)).shape
        torch.Size([2, 8, 3, 4])
    """
    height, width = size
    return tokens[:, tokens.shape[1] - height * width :].unflatten(1, (height, width)).permute(0, 3, 1, 2)


def grouped(blocks: Sequence[Tensor], sizes: Sequence[int], grid: Sequence[int]) -> list[Tensor]:
    """Average the outputs of neighbouring blocks, as features of a teacher.

    Args:
        blocks: Outputs of the blocks, of shapes ``(N, P + H W, C)``, in order.
        sizes: Number of blocks in each group, G numbers.
        grid: Height and width of the grid of patches.

    Returns:
        One map of shape ``(N, C, H, W)`` for each group; then, if P is not 0, the mean tokens before the patches as one
        map of shape ``(N, C, G, P)``.
    """
    means = [mean_of(group) for group in _split(blocks, sizes)]
    maps = [split_tokens(mean, grid) for mean in means]
    prefix = means[0].shape[1] - grid[0] * grid[1]
    if prefix == 0:
        return maps
    return [*maps, torch.stack([mean[:, :prefix] for mean in means], dim=1).permute(0, 3, 1, 2)]


def mean_of(blocks: Sequence[Tensor]) -> Tensor:
    """Return the mean of tensors of one shape, without a copy of them all at a time."""
    first, *others = blocks
    return sum(others, start=first) / len(blocks)


def _split(blocks: Sequence[Tensor], sizes: Sequence[int]) -> list[Sequence[Tensor]]:
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    return [blocks[start : start + size] for start, size in zip(starts, sizes, strict=True)]


def join_tokens(features: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Return the mean of all blocks' tokens from what :func:`grouped` returned.

    Args:
        features: Maps of the groups, and the map of the tokens before the patches if there are any.
        sizes: Number of blocks in each group.

    Returns:
        Tokens of shape ``(N, P + H W, C)``.
    """
    shares = [size / sum(sizes) for size in sizes]
    # A sum of products, not a product with a tensor of shares: exports keep no constant for it.
    tokens = sum(share * group.flatten(2) for share, group in zip(shares, features, strict=False))
    if len(features) > len(sizes):
        prefix = sum(share * features[-1][:, :, index] for index, share in enumerate(shares))
        tokens = torch.cat([prefix, tokens], dim=2)  # type: ignore[list-item]
    return tokens.mT  # type: ignore[union-attr]
