# SPDX-License-Identifier: Apache-2.0
"""Masks of small defects: spots and scratches."""

import math

import torch
from torch import Tensor

__all__ = ["spot_masks"]

# Length as a fraction of the image's shorter side: 4 to 40 pixels of 256.
_SHORTEST, _LONGEST = 1 / 64, 10 / 64
# Width over length: from a scratch to a round spot.
_THINNEST = 0.05
# Minimum distance from the centre that is drawn, in pixels.
_LEAST = 0.75


def spot_masks(objects: Tensor) -> Tensor:
    """Return masks with one ellipse each, of random length, width and angle, centred on the object.

    Random numbers come from torch's global generator.

    Args:
        objects: Where spots may be, one mask for each: of shape ``(N, 1, H, W)``, 1 there and 0 elsewhere.

    Returns:
        Masks of the same shape, type and device, 1 on spots and 0 elsewhere; empty where there is no object.

    Example:
        >>> spot_masks(torch.ones(2, 1, 48, 64)).unique()
        tensor([0., 1.])
    """
    count, _, height, width = objects.shape
    places = objects.flatten(1).float().cpu()
    centres = torch.multinomial(places + (places.sum(1, keepdim=True) == 0), 1)
    low, high = (math.log(share * min(height, width)) for share in (_SHORTEST, _LONGEST))
    length = torch.empty(count, 1, 1).uniform_(low, high).exp() / 2
    thickness = length * torch.empty(count, 1, 1).uniform_(math.log(_THINNEST), 0).exp()
    angle = torch.empty(count, 1, 1).uniform_(0, math.pi)
    down = torch.arange(height).view(1, -1, 1) - (centres // width).view(-1, 1, 1)
    right = torch.arange(width).view(1, 1, -1) - (centres % width).view(-1, 1, 1)
    along, across = right * angle.cos() + down * angle.sin(), down * angle.cos() - right * angle.sin()
    inside = (along / length.clamp_min(_LEAST)).square() + (across / thickness.clamp_min(_LEAST)).square() <= 1
    return inside.unsqueeze(1).to(objects) * objects
