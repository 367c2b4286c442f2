# SPDX-License-Identifier: Apache-2.0
"""Evidence compared with the evidence around it."""

from collections.abc import Callable

import torch
from torch import Tensor

from rd_plugin.components.buffers import DynamicBuffers

__all__ = ["LocalContrast"]

# Half of the window as a share of the grid's sides: it takes about half of each. A grid of four positions has none.
_HALF = 15 / 64
# How many times the usual evidence joins that of the window.
_FLOOR = 3.0


class LocalContrast(DynamicBuffers):
    r"""Evidence in units of what is usual around it.

    Where an image has much structure, such as a dense layout, evidence is high in normal images, too; where it has
    none, evidence is low. A defect has more evidence than its surroundings. So with :math:`\bar e_W` the mean over a
    window of about half of each side, and :math:`\bar e` that over normal images,

    .. math:: e' = \frac{(1 + c)\, e}{\bar e_W + c\, \bar e}, \qquad c = 3,

    which is about 1 in normal images. The second term keeps noise low where an image has no structure. On a grid of
    less than five positions a side, as of images of 32 x 32 pixels, there are no surroundings, and evidence stays as it
    is.

    Attributes:
        usual: Mean of each kind of evidence in normal images, of shape ``(kinds,)``; empty until it is fitted. Evidence
            then stays as it is.

    Example:
        >>> contrast = LocalContrast()
        >>> contrast.update(torch.ones(1, 1, 8, 8))
        >>> contrast.compute()
        >>> evidence = torch.ones(1, 1, 8, 8)
        >>> evidence[..., 4, 4] = 9
        >>> contrast(evidence).amax().item() > 7
        True
        >>> contrast(4 * evidence).amax().item() < 20
        True
    """

    usual: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("usual", torch.empty(0))
        self.reset()

    def reset(self) -> None:
        """Leave evidence as it is, until there is a new mean."""
        self.usual = self.usual.new_empty(0)
        self._sums = self._count = self.usual.new_zeros(())

    @torch.no_grad()
    def update(self, evidence: Tensor, inside: Tensor | None = None) -> None:
        """Add up evidence of normal images.

        Args:
            evidence: Evidence of shape ``(N, kinds, H, W)``, 0 outside the region of interest.
            inside: Where that is, booleans of shape ``(N or 1, 1, H, W)``; by default everywhere.
        """
        counted = torch.ones_like(evidence[:, :1]) if inside is None else inside.expand_as(evidence[:, :1])
        self._sums = self._sums.to(evidence.device) + evidence.sum((0, 2, 3))
        self._count = self._count.to(evidence.device) + counted.sum()

    def compute(self, reduce: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> None:
        """Set what is usual to the mean of what was added up, if anything was.

        Args:
            reduce: Returns the sum of a tensor over all processes; by default there is one.
        """
        if self._count > 0:
            usual = reduce(self._sums) / reduce(self._count)
            self.usual = usual.clamp_min(torch.finfo(usual.dtype).tiny)

    def forward(self, evidence: Tensor, inside: Tensor | None = None) -> Tensor:
        """Return the contrast.

        Args:
            evidence: Evidence of shape ``(N, kinds, H, W)``, at least 0; 0 outside the region of interest.
            inside: Where that is, booleans of shape ``(N or 1, 1, H, W)``; by default everywhere.

        Returns:
            Tensor of the same shape, at least 0.
        """
        if not self.usual.numel() or not any(map(_half, evidence.shape[-2:])):
            return evidence
        usual = _FLOOR * self.usual.to(evidence.dtype).view(1, -1, 1, 1)
        # What is usual joins before the mean, which leaves a constant as it is: OpenVINO cannot run a product to whose
        # channels something is added.
        if inside is None:
            return (1 + _FLOOR) * evidence / _windows(evidence + usual)
        counted = inside.to(evidence.dtype)
        share = _windows(counted)
        # Where a window holds nothing of the region, evidence is 0, and must not be divided by it.
        around = _windows(evidence + usual * counted) + (1 - share.sign())
        return (1 + _FLOOR) * evidence * share / around


def _half(side: int) -> int:
    """How many positions the window reaches to either side."""
    return int(_HALF * side)


def _windows(evidence: Tensor) -> Tensor:
    """Mean over a window around each position, as products with constant matrices: a quantizer leaves them alone."""
    height, width = evidence.shape[-2:]
    return _band(height, evidence) @ evidence @ _band(width, evidence).mT


def _band(side: int, like: Tensor) -> Tensor:
    """Rows that average the positions of a window, of shape ``(side, side)``; beyond the border there are none."""
    places = torch.arange(side, device=like.device)
    near = ((places.unsqueeze(1) - places).abs() <= _half(side)).to(like.dtype)
    return near / near.sum(1, keepdim=True)
