# SPDX-License-Identifier: Apache-2.0
"""Positions whose evidence rises when a part is shifted count less."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from rd_plugin.components.buffers import DynamicBuffers

__all__ = ["PositionWeights"]


class PositionWeights(DynamicBuffers):
    r"""Weights of positions, by what a small shift, which is no defect, does there.

    A shift brings other things in at the border, and changes more at an edge than on a surface. What statistics leave
    of it in the evidence must not look like a defect. With :math:`\bar e_p` the mean evidence at a position of normal
    images, and :math:`\tilde e_p` that of the same images, shifted,

    .. math:: r_p = \tilde e_p / \bar e_p, \qquad e'_p = \min\bigl(1, (\mathrm{median}(r) / r_p)^a\bigr)\, e_p.

    Where layouts differ from image to image, :math:`r_p` is noise. So :math:`a` is the reliability of :math:`\log r`
    (Spearman, 1910; Brown, 1910): with :math:`\rho` its correlation between two halves of the images,
    :math:`a = 2 \rho / (1 + \rho)`, and 0 if that is negative. It takes two images.

    Attributes:
        weights: Weights in (0, 1], of shape ``(kinds, H, W)``; empty until they are computed. Evidence then stays as it
            is.

    Example:
        >>> positions = PositionWeights()
        >>> normal = torch.ones(1, 1, 3, 3)
        >>> shifted = normal.clone()
        >>> shifted[..., 0, :] = 4
        >>> for _ in range(2):
        ...     positions.update(normal, shifted)
        >>> positions.compute()
        >>> positions(normal)[0, 0, :, 0]
        tensor([0.2500, 1.0000, 1.0000])
    """

    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.empty(0))
        self.reset()

    def reset(self) -> None:
        """Leave evidence as it is, until there are new weights."""
        self.weights = self.weights.new_empty(0)
        self._halves = [torch.zeros(2, 1, 1, 1) for _ in range(2)]
        self._images = 0

    @torch.no_grad()
    def update(self, normal: Tensor, shifted: Tensor) -> None:
        """Add up evidence of a normal image.

        Args:
            normal: Evidence of the image, of shape ``(N, kinds, H, W)`` with N its tiles; 0 outside the region of
                interest.
            shifted: That of its shifted copies, of shape ``(M, kinds, H, W)``.
        """
        found = torch.stack([normal.mean(0), shifted.mean(0)])
        half = self._images % 2
        self._halves[half] = self._halves[half].to(found) + found
        self._images += 1

    def compute(self) -> None:
        """Set the weights by what was added up, if that was of two images at least."""
        if self._images < 2:
            return
        halves = torch.stack(self._halves)
        raised, of_halves = _log_ratio(*halves.sum(0)), _log_ratio(*halves.unbind(1))
        first, second = (of_halves - of_halves.nanmean((2, 3), keepdim=True)).nan_to_num(0.0)
        correlation = F.cosine_similarity(first.flatten(1), second.flatten(1)).clamp_min(0).view(-1, 1, 1)
        reliability = 2 * correlation / (1 + correlation)
        usual = raised.flatten(1).nanmedian(1).values.view(-1, 1, 1)
        self.weights = (reliability * (usual - raised)).exp().clamp_max(1).nan_to_num(1.0)

    def forward(self, evidence: Tensor) -> Tensor:
        """Return evidence of shape ``(N, kinds, H, W)``, weighted."""
        return evidence * self.weights.to(evidence.dtype) if self.weights.numel() else evidence


def _log_ratio(normal: Tensor, shifted: Tensor) -> Tensor:
    """Logarithm of how much a shift raises evidence; NaN outside the region of interest, where there is none."""
    ratio = shifted.clamp_min(torch.finfo(shifted.dtype).tiny) / normal
    return torch.where(normal > 0, ratio.log(), torch.nan)
