# SPDX-License-Identifier: Apache-2.0
"""Perturbations of images that are not defects: lighting, focus, position, noise, compression."""

import math

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torchvision.transforms.v2 import functional as transforms

__all__ = ["change_brightness", "perturb", "shift"]

# Maximum gain and exponent; the minimum is the inverse.
_GAIN, _GAMMA = math.log(1.18), math.log(1.25)
# Maximum standard deviation of the blur in pixels, and the radius of its kernel.
_BLUR, _KERNEL = 1.0, 7
# Maximum shift as a fraction of the image's sides: 4 pixels of 256.
_SHIFT = 1 / 64
# Maximum standard deviation of the noise, as a fraction of an image's range.
_NOISE = 5 / 255
# Quality of a JPEG file, in percent.
_QUALITY = (50, 95)


def _gain(images: Tensor) -> Tensor:
    return images * _uniform(images, -_GAIN, _GAIN).exp()


def _gamma(images: Tensor) -> Tensor:
    return images.clamp_min(0) ** _uniform(images, -_GAMMA, _GAMMA).exp()


def _blur(images: Tensor) -> Tensor:
    sigmas = (_uniform(images, 0, _BLUR) + torch.finfo(images.dtype).eps).flatten().tolist()
    return torch.stack([transforms.gaussian_blur(i, _KERNEL, s) for i, s in zip(images, sigmas, strict=True)])


def shift(images: Tensor) -> Tensor:
    """Return images of shape ``(N, 3, H, W)``, each moved by up to a 64th of its sides; the border is mirrored."""
    height, width = images.shape[-2:]
    rows, columns = (max(1, round(_SHIFT * side)) for side in (height, width))
    padded = F.pad(images, (columns, columns, rows, rows), mode="reflect")
    tops, lefts = (torch.randint(2 * most + 1, (len(images),)).tolist() for most in (rows, columns))
    return torch.stack(
        [image[:, t : t + height, f : f + width] for image, t, f in zip(padded, tops, lefts, strict=True)]
    )


def _grey_noise(images: Tensor) -> Tensor:
    # The same in all channels.
    return images + _uniform(images, 0, _NOISE) * torch.randn(len(images), 1, *images.shape[-2:]).to(images)


def _colour_noise(images: Tensor) -> Tensor:
    # Independent in each channel, which has another effect on networks trained on photographs.
    return images + _uniform(images, 0, _NOISE) * torch.randn(images.shape).to(images)


def _jpeg(images: Tensor) -> Tensor:
    qualities = torch.randint(*_QUALITY, (len(images),)).tolist()
    eight_bit = (images.clamp(0, 1) * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    coded = []
    for image, quality in zip(eight_bit, qualities, strict=True):
        _, file = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        coded.append(torch.from_numpy(np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR))))
    return torch.stack(coded).permute(0, 3, 1, 2).to(images) / 255


def _uniform(images: Tensor, low: float, high: float) -> Tensor:
    return torch.empty(len(images), 1, 1, 1).uniform_(low, high).to(images)


_PERTURBATIONS = (_gain, _gamma, _blur, shift, _grey_noise, _colour_noise, _jpeg)


def change_brightness(images: Tensor) -> Tensor:
    """Return images of shape ``(N, 3, H, W)`` in [0, 1], each under brighter or darker lighting."""
    return _gain(images).clamp(0, 1)


def perturb(images: Tensor) -> Tensor:
    """Perturb images in ways that are not defects, one at a time.

    Lighting (gain up to 1.18 and exponent up to 1.25, or their inverses), focus (blur up to 1 pixel), position (shift
    up to a 64th of the side), sensor (noise up to 5 of 255, equal or independent in the channels) and file (JPEG of
    quality 50 to 95), each by a random amount. Random numbers come from torch's global generator.

    Args:
        images: Images of shape ``(N, 3, H, W)`` in [0, 1].

    Returns:
        Images of shape ``(7 N, 3, H, W)`` in [0, 1], clipped to that range as by a sensor: all images under each
        perturbation.

    Example:
        >>> perturb(torch.rand(2, 3, 64, 64)).shape
        torch.Size([14, 3, 64, 64])
    """
    return torch.cat([change(images) for change in _PERTURBATIONS]).clamp(0, 1)
