# SPDX-License-Identifier: Apache-2.0
"""Residual blocks that keep, halve or double the resolution (He et al., CVPR 2016; Deng and Li, section 3.2)."""

from typing import Literal

from torch import Tensor, nn

from .pyramid import Stage

__all__ = ["ResidualBlock", "initialize", "residual_stage"]

Resample = Literal["keep", "down", "up"]


def _resampling_conv(in_channels: int, out_channels: int, resample: Resample, groups: int = 1) -> nn.Module:
    """The convolution of a block that changes the resolution: 3x3, or for doubling a transposed 2x2."""
    if resample == "up":
        return nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2, groups=groups, bias=False)
    stride = 2 if resample == "down" else 1
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, groups=groups, bias=False)


def _shortcut(in_channels: int, out_channels: int, resample: Resample) -> nn.Module:
    """The identity path, with a projection if the block changes channels or resolution."""
    if resample == "keep" and in_channels == out_channels:
        return nn.Identity()
    projection: nn.Module
    if resample == "up":
        projection = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2, bias=False)
    else:
        projection = nn.Conv2d(in_channels, out_channels, 1, stride=2 if resample == "down" else 1, bias=False)
    return nn.Sequential(projection, nn.BatchNorm2d(out_channels))


class ResidualBlock(nn.Module):
    """A basic or bottleneck residual block.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        width: Channels inside a bottleneck block, or ``None`` for a basic block.
        groups: Groups of a bottleneck block's middle convolution.
        resample: ``"keep"``, ``"down"`` (half the resolution, rounded up) or ``"up"`` (twice the resolution).

    Shape:
        ``(N, in_channels, H, W)`` to ``(N, channels, H', W')``, all outputs at least 0.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        width: int | None = None,
        groups: int = 1,
        resample: Resample = "keep",
    ) -> None:
        super().__init__()
        if width is None:
            layers = [
                _resampling_conv(in_channels, channels, resample),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
            ]
        else:
            layers = [
                nn.Conv2d(in_channels, width, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                _resampling_conv(width, width, resample, groups),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                nn.Conv2d(width, channels, 1, bias=False),
                nn.BatchNorm2d(channels),
            ]
        self.residual = nn.Sequential(*layers)
        self.shortcut = _shortcut(in_channels, channels, resample)
        self.act = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Return the block's output for ``features`` of shape ``(N, in_channels, H, W)``."""
        return self.act(self.residual(features) + self.shortcut(features))


def residual_stage(in_channels: int, stage: Stage, resample: Resample) -> nn.Sequential:
    """Build a stage: the first block changes channels and resolution, the others keep them.

    Args:
        in_channels: Channels of the input.
        stage: Channels and block spec.
        resample: What the first block does to the resolution.
    """
    spec = stage.residual
    blocks = [ResidualBlock(in_channels, stage.channels, spec.width, spec.groups, resample)]
    blocks += [ResidualBlock(stage.channels, stage.channels, spec.width, spec.groups) for _ in range(spec.depth - 1)]
    return nn.Sequential(*blocks)


def initialize(module: nn.Module) -> None:
    """Initialize a trained part as the authors do: ordinary convolutions from He's normal distribution.

    Batch norms (identity) and transposed convolutions keep torch's defaults, as in the authors' program.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
