# SPDX-License-Identifier: Apache-2.0
"""The student for tokens: transformer blocks with linear attention (Guo et al., CVPR 2025)."""

from collections.abc import Sequence

from timm.layers.mlp import Mlp
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .noisy_bottleneck import initialize_tokens
from .tokens import mean_of, split_tokens

__all__ = ["LinearAttention", "TokenStudent"]

_RATIO, _EPSILON = 4, 1e-8


class LinearAttention(nn.Module):
    r"""Attention without softmax, which cannot focus and so cannot simply copy.

    For each head, with :math:`q = \mathrm{elu}(Q) + 1` and :math:`k = \mathrm{elu}(K) + 1`,

    .. math:: \mathrm{out} = \frac{q\,(k^T V)}{q \cdot \sum_s k_s}.

    The cost is linear in the number of tokens.

    Args:
        channels: Length of a token.
        heads: Number of heads.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens of the shape of ``tokens``, ``(N, T, C)``."""
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        query, key = F.elu(query) + 1, F.elu(key) + 1
        attended = query @ (key.mT @ value) / (query @ key.sum(2, keepdim=True).mT)
        return self.proj(attended.transpose(1, 2).flatten(2))


class _Block(nn.Module):
    """A transformer block, normalized before each part."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=_EPSILON)
        self.attn = LinearAttention(channels, heads)
        self.norm2 = nn.LayerNorm(channels, eps=_EPSILON)
        self.mlp = Mlp(channels, _RATIO * channels)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class TokenStudent(nn.Module):
    """Blocks of the teacher's width whose means, in groups and in reverse order, are the teacher's.

    Args:
        channels: Length of a token.
        heads: Number of heads of the attention.
        depth: Number of blocks.
        groups: Number of groups; the last blocks are the first group.

    Raises:
        ValueError: If there are fewer blocks than groups.
    """

    def __init__(self, channels: int, heads: int, depth: int, groups: int) -> None:
        super().__init__()
        if depth < groups:
            msg = f"student_depth must be at least {groups}, one block for each group of layers, got {depth}."
            raise ValueError(msg)
        self.groups = groups
        self.blocks = nn.ModuleList(_Block(channels, heads) for _ in range(depth))
        initialize_tokens(self)

    def forward(self, embedding: Tensor, teacher: Sequence[Tensor]) -> list[Tensor]:
        """Reconstruct the teacher's features.

        Args:
            embedding: Tokens of shape ``(N, P + H W, C)``.
            teacher: The teacher's features of shapes ``(N, C, H, W)``, whose sizes are used.

        Returns:
            Student features of the same shapes, one for each group.
        """
        outputs = []
        for block in self.blocks:
            embedding = block(embedding)
            outputs.append(embedding)
        outputs.reverse()
        size = -(-len(outputs) // self.groups)
        means = [mean_of(outputs[start : start + size]) for start in range(0, len(outputs), size)]
        return [split_tokens(mean, target.shape[-2:]) for mean, target in zip(means, teacher, strict=True)]
