# SPDX-License-Identifier: Apache-2.0
"""What the whole image explains at each position, and what remains unexplained (after Ahuja et al., DFM, 2019)."""

import torch
from anomalib.models.components import DynamicBufferMixin
from torch import Tensor

__all__ = ["Context"]

# Principal components at most, and images for each of them at least.
_COMPONENTS, _IMAGES = 64, 3
# Iterations of the randomized decomposition.
_ITERATIONS = 4


class Context(DynamicBufferMixin):
    """Remove from each position what the rest of the image explains.

    Normal images differ as a whole, in lighting or texture, along few principal components of their feature maps. What
    these do not explain at a position does not fit the rest of its image.

    Attributes:
        mean: Mean map of shape ``(C, H, W)``; empty until it is fitted.
        scale: Standard deviation of each channel, of shape ``(C, 1, 1)``; likewise.
        components: Orthonormal principal components of shape ``(C H W, K)``, in half precision; likewise.

    Example:
        >>> maps = torch.randn(30, 1, 1, 1, generator=torch.Generator().manual_seed(0)) * torch.ones(1, 2, 4, 4)
        >>> context = Context()
        >>> context.fit(maps)
        >>> bool(context(maps).abs().max() < 0.01)
        True
    """

    mean: Tensor
    scale: Tensor
    components: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.empty(0))
        self.register_buffer("scale", torch.empty(0))
        self.register_buffer("components", torch.empty(0, dtype=torch.float16))

    @torch.no_grad()
    def fit(self, maps: Tensor) -> None:
        """Find the principal components of normal images' feature maps, of shape ``(N, C, H, W)``."""
        self.mean = maps.mean(0)
        offsets = maps - self.mean
        deviation = offsets.square().mean((0, 2, 3)).sqrt()
        # A channel that never varies stays as it is.
        self.scale = torch.where(deviation > 0, deviation, 1).view(-1, 1, 1)
        flat = (offsets / self.scale).flatten(1)
        count = min(_COMPONENTS, len(maps) // _IMAGES)
        if count == 0 or not flat.isfinite().all():
            self.components = flat.new_zeros(flat.shape[1], 1).half()
            return
        # The decomposition draws a random start; it does not change the training's generator.
        with torch.random.fork_rng(devices=[flat.device] if flat.device.type == "cuda" else []):
            torch.manual_seed(0)
            self.components = torch.svd_lowrank(flat, q=count, niter=_ITERATIONS)[2].half()

    def forward(self, maps: Tensor) -> Tensor:
        """Return what is not explained, in standard deviations of each channel.

        Args:
            maps: Feature maps of shape ``(N, C, H, W)``.

        Returns:
            Tensor of the same shape.

        Raises:
            ValueError: If maps are of another size than those of the training.
        """
        if maps.shape[1:] != self.mean.shape:
            msg = (
                "images must have the training size: regions have the shape "
                f"{tuple(maps.shape[1:])}, the model's statistics {tuple(self.mean.shape)}. "
                "Resize images in the pre-processor."
            )
            raise ValueError(msg)
        flat = ((maps - self.mean.to(maps.dtype)) / self.scale.to(maps.dtype)).flatten(1)
        components = self.components.to(maps.dtype)
        return (flat - (flat @ components) @ components.mT).reshape(maps.shape)
