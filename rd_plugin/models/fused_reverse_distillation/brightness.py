# SPDX-License-Identifier: Apache-2.0
"""Normalization of the brightness, which differs from image to image, by one factor."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["BrightnessNormalization", "BrightnessType"]

BrightnessType = Literal["auto"] | float

# Of torchvision's normalization, which the package's pre-processor does.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Darker than one step of an 8-bit image nothing can be made brighter.
_DARKEST = 1 / 255
# How far a factor may go: as far as normal images differ, in standard deviations, and by a change of lighting beyond.
_DEVIATIONS, _MARGIN = 3.0, 1.25


class BrightnessNormalization(nn.Module):
    r"""Scale each image by one factor towards the usual brightness.

    With :math:`b` an image's mean brightness and :math:`b_0` the geometric mean of those of normal images, the factor
    is :math:`(b_0 / b)^s`. It is limited to what normal images show, and a quarter beyond: an image that is much darker
    stays dark, since that may be its defect. Values are not clipped, so nothing is lost.

    Args:
        mean: Of the normalization that images have gone through, of each channel.
        std: Likewise.

    Attributes:
        reference: Logarithm of :math:`b_0`, brightness being in [0, 1].
        limit: The factor's logarithm at most, either way.
        strength: :math:`s`, in [0, 1]; 0 until it is set.

    Example:
        >>> brightness = BrightnessNormalization(mean=(0, 0, 0), std=(1, 1, 1))
        >>> images = torch.tensor([0.2, 0.4]).reshape(2, 1, 1, 1).expand(2, 3, 8, 8)
        >>> brightness.fit(brightness.levels(images))
        >>> brightness.strength.fill_(1)
        tensor(1.)
        >>> [round(image.mean().item(), 3) for image in brightness(images)]
        [0.283, 0.283]
    """

    mean: Tensor
    std: Tensor
    reference: Tensor
    limit: Tensor
    strength: Tensor

    def __init__(self, mean: Sequence[float] = _MEAN, std: Sequence[float] = _STD) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("reference", torch.zeros(()))
        self.register_buffer("limit", torch.zeros(()))
        self.register_buffer("strength", torch.zeros(()))

    @property
    def is_fitted(self) -> bool:
        """Whether the usual brightness is known."""
        return bool(self.limit > 0)

    def raw(self, images: Tensor) -> Tensor:
        """Return normalized images of shape ``(N, 3, H, W)`` as they were before, in [0, 1]."""
        return images * self.std + self.mean

    def normalized(self, images: Tensor) -> Tensor:
        """Return images as :meth:`raw` gives them, normalized."""
        return (images - self.mean) / self.std

    def levels(self, images: Tensor) -> Tensor:
        """Return the logarithm of each image's mean brightness, of shape ``(N,)``, for normalized images."""
        brightness = (images.mean((2, 3), keepdim=True) * self.std + self.mean).mean((1, 2, 3))
        return brightness.clamp_min(_DARKEST).log()

    @torch.no_grad()
    def fit(self, levels: Tensor) -> None:
        """Set reference and limit by the :meth:`levels` of normal images, of shape ``(N,)``."""
        levels = levels[levels.isfinite()]
        self.reference = levels.mean()
        self.limit = _DEVIATIONS * levels.std(correction=0) + math.log(_MARGIN)

    def forward(self, images: Tensor) -> Tensor:
        """Return images of normalized brightness, for images of shape ``(N, 3, H, W)``."""
        wanted = self.reference - self.levels(images)
        # In two comparisons with tensors: a clamp between them is more than some runtimes know.
        factor = (self.strength * torch.minimum(torch.maximum(wanted, -self.limit), self.limit)).exp().view(-1, 1, 1, 1)
        # In this form a factor of one leaves every bit as it is.
        return images * factor + self.mean / self.std * (factor - 1)
