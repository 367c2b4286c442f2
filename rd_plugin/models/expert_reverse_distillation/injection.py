# SPDX-License-Identifier: Apache-2.0
"""Guided information injection: teacher features for the student (Liu et al., AAAI 2025)."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from rd_plugin.components import Stage, cosine_deviation

__all__ = ["InformationInjection", "InjectionType", "injection_builder"]

InjectionType = Literal["guided", "unguided", "none"]


def _conv(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    """A convolution with batch norm and ReLU that keeps the grid."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class InformationInjection(nn.Module):
    """Mix the teacher's features of one scale and the next finer one into the input of the student's next stage.

    With the student's features ``D``, the teacher's ``T`` at the same scale and ``T'`` at the next finer one::

        F = conv3(T + conv1(half(T')))
        G = conv3(F * s + D * (1 - s)),  s = cos(D, T) at each position, without gradient
        output = conv3(concat(D, G))

    In this way the student gets texture that the bottleneck loses. Where the student's features differ from the
    teacher's, as they should on an anomaly, the small similarity ``s`` blocks the teacher's features.

    Args:
        channels: Channels of this scale.
        finer_channels: Channels of the next finer scale.
        guided: Whether ``s`` guides the injection, as in the paper. Otherwise ``G = F``, as in the authors' released
            script and their published figures.

    Shape:
        Three inputs ``(N, channels, H, W)``, ``(N, channels, H, W)`` and ``(N, finer_channels, H', W')`` to
        ``(N, channels, H, W)``, all outputs at least 0.
    """

    def __init__(self, channels: int, finer_channels: int, guided: bool) -> None:
        super().__init__()
        self.lateral = _conv(finer_channels, channels, 1)
        self.fusion = _conv(channels, channels, 3)
        self.guidance = _conv(channels, channels, 3) if guided else None
        self.output = _conv(2 * channels, channels, 3)

    def forward(self, student: Tensor, teacher: Tensor, finer: Tensor) -> Tensor:
        """Return the next stage's input for the student's features, the teacher's and the teacher's finer ones."""
        halved = F.interpolate(finer, size=teacher.shape[-2:], mode="bilinear", align_corners=False)
        injected = self.fusion(teacher + self.lateral(halved))
        if self.guidance is not None:
            with torch.no_grad():
                similarity = (1 - cosine_deviation(student, teacher)).unsqueeze(1).to(student.dtype)
            injected = self.guidance(injected * similarity + student * (1 - similarity))
        return self.output(torch.cat([student, injected], dim=1))


def injection_builder(kind: InjectionType) -> Callable[[Stage, Stage], nn.Module] | None:
    """Return the builder of a student's injections, an argument of :class:`~rd_plugin.components.Student`.

    Args:
        kind: ``"guided"``, ``"unguided"`` or ``"none"``.

    Raises:
        ValueError: If it is none of these.
    """
    if kind not in {"guided", "unguided", "none"}:
        msg = f"injection must be 'guided', 'unguided' or 'none', got {kind!r}."
        raise ValueError(msg)
    if kind == "none":
        return None
    return lambda scale, finer: InformationInjection(scale.channels, finer.channels, kind == "guided")
