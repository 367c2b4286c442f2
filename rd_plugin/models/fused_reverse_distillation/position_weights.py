# SPDX-License-Identifier: Apache-2.0
"""Positions whose evidence rises when a part is shifted count less."""

import torch
from torch import Tensor

from rd_plugin.components.buffers import DynamicBuffers

__all__ = ["PositionWeights"]


class PositionWeights(DynamicBuffers):
    r"""Weights of positions, by what a small shift, which is no defect, does there.

    A shift brings other things in at the border, and changes more at an edge than on a surface. What statistics leave
    of it in the evidence must not look like a defect. With :math:`\bar e_p` the mean evidence at a position of normal
    images, and :math:`\tilde e_p` that of the same images, shifted,

    .. math:: r_p = \tilde e_p / \bar e_p, \qquad e'_p = \min(1, \mathrm{median}(r) / r_p)\, e_p.

    Attributes:
        weights: Weights in (0, 1], of shape ``(kinds, H, W)``; empty until they are computed. Evidence then stays as it
            is.

    Example:
        >>> positions = PositionWeights()
        >>> normal = torch.ones(1, 1, 3, 3)
        >>> shifted = normal.clone()
        >>> shifted[..., 0, :] = 4
        >>> positions.update(normal, shifted)
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
        self._normal = self._shifted = self.weights.new_zeros(())

    @torch.no_grad()
    def update(self, normal: Tensor, shifted: Tensor) -> None:
        """Add up evidence of normal images.

        Args:
            normal: Evidence of shape ``(N, kinds, H, W)``, 0 outside the region of interest.
            shifted: That of the same images, shifted; there may be several of each, of shape ``(M, kinds, H, W)``.
        """
        self._normal = self._normal.to(normal.device) + normal.sum(0)
        self._shifted = self._shifted.to(normal.device) + shifted.sum(0) * len(normal) / len(shifted)

    def compute(self) -> None:
        """Set the weights by what was added up, if anything was."""
        if not self._normal.ndim:
            return
        # Outside the region of interest there is none.
        counted = self._normal > 0
        raised = torch.where(counted, self._shifted / self._normal, torch.nan)
        usual = raised.flatten(1).nanmedian(1).values.view(-1, 1, 1)
        self.weights = (usual / raised).clamp_max(1).nan_to_num(1.0)

    def forward(self, evidence: Tensor) -> Tensor:
        """Return evidence of shape ``(N, kinds, H, W)``, weighted."""
        return evidence * self.weights.to(evidence.dtype) if self.weights.numel() else evidence
