# SPDX-License-Identifier: Apache-2.0
"""Images of one part in several places, for tests of the alignment."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from rd_plugin.components.alignment import shifted

SIDE, MARGIN = 128, 32


def parts(count: int, seed: int = 0, size: tuple[int, int] = (SIDE, SIDE)) -> Tensor:
    """Images of one part on a larger canvas, each of its own brightness, contrast and noise."""
    canvas = [side + 2 * MARGIN for side in size]
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 1, canvas[0] // 8, canvas[1] // 8, generator=generator)
    part = F.interpolate(coarse, canvas, mode="bicubic")
    generator = torch.Generator().manual_seed(seed)
    contrast = 0.5 + torch.rand(count, 1, 1, 1, generator=generator)
    return contrast * (part + 0.05 * torch.randn(count, 3, *canvas, generator=generator))


def view(canvas: Tensor, down: float = 0.0, right: float = 0.0) -> Tensor:
    """The middle of canvases whose part is lower and further right."""
    shift = torch.tensor([[-down, -right]]).expand(len(canvas), 2)
    return shifted(canvas, shift)[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
