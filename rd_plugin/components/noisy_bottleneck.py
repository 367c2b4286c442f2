# SPDX-License-Identifier: Apache-2.0
"""The bottleneck for tokens: a perceptron with dropout (Guo et al., CVPR 2025, "noisy bottleneck")."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from .tokens import join_tokens

__all__ = ["NoisyBottleneck", "TokenBottleneckType", "initialize_tokens"]

TokenBottleneckType = Literal["noisy", "narrow"]

# Width of the hidden layer, in widths of a token, and of the first layer of Dinomaly2's.
_RATIO = 4
_NARROW = 256


def initialize_tokens(module: nn.Module) -> None:
    """Initialize linear layers as the authors do: a normal distribution of deviation 0.01, cut at three; no bias."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.01, a=-0.03, b=0.03)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class NoisyBottleneck(nn.Module):
    """Average the teacher's blocks, and pass each token through a perceptron with dropout.

    Dropout replaces synthetic anomalies: the student learns to restore normal features from damaged ones.

    Args:
        channels: Length of a token.
        groups: Number of the teacher's blocks in each group.
        dropout: Probability that a value is dropped, before, within and after the perceptron, in [0, 1).
        kind: ``"noisy"`` (Dinomaly), or ``"narrow"``: a linear layer to 256 values comes first (Dinomaly2).

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self, channels: int, groups: Sequence[int], dropout: float, kind: TokenBottleneckType = "noisy"
    ) -> None:
        super().__init__()
        if kind not in {"noisy", "narrow"}:
            msg = f"bottleneck must be 'noisy' or 'narrow' for a plain ViT, got {kind!r}."
            raise ValueError(msg)
        if not 0 <= dropout < 1:
            msg = f"dropout must be in [0, 1), got {dropout}."
            raise ValueError(msg)
        self.groups = tuple(groups)
        width = channels if kind == "noisy" else _NARROW
        self.narrow = None if kind == "noisy" else nn.Linear(channels, width)
        self.dropout = nn.Dropout(dropout)
        self.fc1 = nn.Linear(width, _RATIO * channels)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(_RATIO * channels, channels)
        initialize_tokens(self)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Embed the teacher's features.

        Returns:
            Tokens of shape ``(N, P + H W, C)``, where P is the number of class and register tokens.
        """
        tokens = join_tokens(features, self.groups)
        if self.narrow is not None:
            tokens = self.narrow(tokens)
        return self.dropout(self.fc2(self.dropout(self.act(self.fc1(self.dropout(tokens))))))
