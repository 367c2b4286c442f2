# SPDX-License-Identifier: Apache-2.0
"""An anomaly map resized to one size and blurred by a small kernel, as in Dinomaly's program."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .precision import full_precision

__all__ = ["FixedSizeMap", "shrinking_matrix"]

# Of the authors' kernel, which is 5 pixels wide whatever its standard deviation.
_RADIUS = 2


@lru_cache(maxsize=64)
def shrinking_matrix(source: int, target: int, sigma: float) -> np.ndarray:
    """Return the matrix that resizes along one axis and blurs by a kernel of five pixels, with zeros beyond the border.

    Args:
        source: Number of pixels.
        target: Number of pixels of the result; bilinear interpolation without aligned corners or antialiasing.
        sigma: Standard deviation of the Gaussian that the kernel is cut from, in pixels; 0 for no blur.

    Returns:
        Matrix of shape ``(target, source)`` in float32.

    Example:
        >>> shrinking_matrix(4, 2, 0.0).tolist()
        [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    centres = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    resize = np.clip(1 - np.abs(centres[:, None] - np.arange(source)), 0, None)
    if sigma == 0:
        return resize.astype(np.float32)
    kernel = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / sigma) ** 2)
    padded = np.pad(resize, ((_RADIUS, _RADIUS), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=0)
    return (windows @ (kernel / kernel.sum())).astype(np.float32)


class FixedSizeMap(nn.Module):
    """Resize an anomaly map to a square and blur it there; the image score comes from that.

    Args:
        side: Height and width of the result, in pixels.
        sigma: Standard deviation of the blur, in pixels of the result. Its kernel is 5 x 5 (a Gaussian of 4 pixels is
            nearly a box there), with zeros beyond the border.

    Raises:
        ValueError: If ``side`` is less than 1.

    Example:
        >>> FixedSizeMap(8, 4.0)(torch.ones(2, 1, 32, 48)).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(self, side: int, sigma: float) -> None:
        super().__init__()
        if side < 1:
            msg = f"map_size must be at least 1 pixel, got {side}."
            raise ValueError(msg)
        self.side = side
        self.sigma = float(sigma)

    # When dynamo traces, the matrix is a constant, and numpy is not traced.
    @torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
    def _matrix(self, source: int, device: torch.device) -> Tensor:
        return torch.from_numpy(shrinking_matrix(source, self.side, self.sigma)).to(device)

    def forward(self, anomaly_map: Tensor) -> Tensor:
        """Return maps of shape ``(N, 1, side, side)`` for maps of shape ``(N, 1, H, W)``."""
        height, width = anomaly_map.shape[-2:]
        with full_precision(anomaly_map.device):
            tall = F.linear(anomaly_map.float().mT, self._matrix(height, anomaly_map.device))
            return F.linear(tall.mT, self._matrix(width, anomaly_map.device))
