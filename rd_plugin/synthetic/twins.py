# SPDX-License-Identifier: Apache-2.0
"""Twins of normal images with synthetic anomalies (Liu et al., AAAI 2025; Zavrtanik et al., ICCV 2021)."""

import math
from collections.abc import Callable

import torch
from anomalib.data.utils.generators.perlin import generate_perlin_noise
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchvision.transforms import v2

from .foreground import ForegroundType, foreground

__all__ = ["TwinGenerator", "perlin_masks"]

# A cell is an image's side divided by up to two to this power.
_FINEST_CELLS = 5
# All masks of a batch are windows of one noise map: it has more cells than the widest window, each large enough to stay
# smooth when magnified.
_CELLS = 64
_PIXELS_PER_CELL = 16
_THRESHOLD = 0.5
_ROTATION = math.pi / 2
# Maximum share of the image in the blend with the texture.
_TRANSPARENCY = 0.8
# Maximum number of draws until a mask overlaps its object.
_DRAWS = 10


def _draw(count: int, height: int, width: int, device: torch.device) -> Tensor:
    """Draw masks of shape ``(N, 1, H, W)``, none of them empty.

    Each is a random window of the noise map, with a random position, rotation, and height and width in cells.
    """
    noise = generate_perlin_noise(_CELLS * _PIXELS_PER_CELL, _CELLS * _PIXELS_PER_CELL, (_CELLS, _CELLS), device)
    # Cells must not be smaller than a pixel.
    powers = [torch.randint(min(_FINEST_CELLS, int(math.log2(side))) + 1, (count,)) for side in (height, width)]
    rows, columns = (2.0**power / _CELLS for power in powers)
    angles = torch.empty(count).uniform_(-_ROTATION, _ROTATION)
    cos, sin, aspect = angles.cos(), angles.sin(), height / width
    down, right = torch.empty(2, count).uniform_(-1, 1)
    window = torch.stack([cos * columns, -sin * aspect * columns, right, sin / aspect * rows, cos * rows, down], dim=1)
    grid = F.affine_grid(window.view(-1, 2, 3).to(device), [count, 1, height, width], align_corners=False)
    # Smooth if few cells are magnified; outside of the noise map its mirror image is used.
    seen = F.grid_sample(
        noise.expand(count, 1, -1, -1), grid, mode="bicubic", padding_mode="reflection", align_corners=False
    )
    # If the noise is below the threshold everywhere, its highest part becomes the blob.
    highest = seen.amax(dim=(-2, -1), keepdim=True)
    return (seen > _THRESHOLD * highest.where(highest <= _THRESHOLD, 1)).float()


def perlin_masks(objects: Tensor) -> Tensor:
    """Return masks of blobs: thresholded Perlin noise of random cell sizes, rotated by up to 90 degrees either way.

    Args:
        objects: Where blobs may be, one mask for each: of shape ``(N, 1, H, W)``, 1 there and 0 elsewhere.

    Returns:
        Masks of the same shape, type and device, 1 in blobs and 0 elsewhere. A mask that misses its object is drawn
        again, several times; after that it stays empty.

    Example:
        >>> perlin_masks(torch.ones(2, 1, 48, 64)).unique()
        tensor([0., 1.])
    """
    height, width = objects.shape[-2:]
    masks = torch.zeros_like(objects)
    for _ in range(_DRAWS):
        missed = masks.amax(dim=(-3, -2, -1)) == 0
        if not missed.any():
            break
        masks[missed] = _draw(int(missed.sum()), height, width, objects.device).to(objects) * objects[missed]
    return masks


class TwinGenerator(nn.Module):
    """Give each image a twin with synthetic anomalies.

    Inside a mask of Perlin noise, ``M``, the image ``I`` is blended with a texture: ``I' = (1 - M) I + M ((1 - b)
    texture + b I)`` with ``b`` drawn uniformly from [0, 0.8]. The texture is a given picture, or another image of the
    batch: shifted, zoomed, flipped, and changed in brightness and contrast.

    Random numbers come from torch's global generator; everything is made on the images' device.

    Args:
        foreground: Where anomalies may be: ``"none"`` (everywhere), or on the object, found by ``"otsu"`` or
            ``"grabcut"``; see :func:`~rd_plugin.synthetic.foreground.foreground`.

    Example:
        >>> twins, masks = TwinGenerator()(torch.rand(4, 3, 64, 64))
        >>> twins.shape, masks.shape
        (torch.Size([4, 3, 64, 64]), torch.Size([4, 1, 64, 64]))
    """

    def __init__(self, foreground: ForegroundType = "none") -> None:
        super().__init__()
        if foreground not in {"none", "otsu", "grabcut"}:
            msg = f"foreground must be 'none', 'otsu' or 'grabcut', got {foreground!r}."
            raise ValueError(msg)
        self.foreground: ForegroundType = foreground

    @torch.no_grad()
    def forward(
        self,
        images: Tensor,
        textures: Callable[[Tensor], Tensor] | None = None,
        draw: Callable[[Tensor], Tensor] = perlin_masks,
    ) -> tuple[Tensor, Tensor]:
        """Make twins.

        Args:
            images: Normalized images of shape ``(N, 3, H, W)``.
            textures: Returns pictures of the same shape for the images, normalized like them; without it, images of the
                batch are used.
            draw: Returns masks of anomalies for masks of objects, as :func:`perlin_masks` does.

        Returns:
            Twins of shape ``(N, 3, H, W)`` and masks of shape ``(N, 1, H, W)``, 1 on anomalies.
        """
        masks = draw(foreground(images, self.foreground))
        texture = self._from_batch(images) if textures is None else textures(images)
        transparency = torch.empty(len(images), 1, 1, 1).uniform_(0, _TRANSPARENCY).to(images)
        return torch.lerp(images, texture, masks * (1 - transparency)), masks

    @staticmethod
    def _from_batch(images: Tensor) -> Tensor:
        """Other images of the batch, transformed so that they differ from the image at the same place."""
        count, _, height, width = images.shape
        others = images.roll(int(torch.randint(1, max(count, 2), ())), dims=0)
        shift = [int(torch.randint(side, ())) for side in (height, width)]
        others = others.roll(shift, dims=(-2, -1))
        change = v2.Compose(
            [
                v2.RandomResizedCrop((height, width), scale=(0.1, 1.0), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.RandomVerticalFlip(),
            ],
        )
        others = change(others)
        # Normalized images have deviations of about one. All channels change equally: a colour that grey images cannot
        # have would make the anomalies obvious.
        contrast = torch.empty(count, 1, 1, 1).uniform_(0.5, 1.5).to(images)
        brightness = torch.empty(count, 1, 1, 1).uniform_(-1, 1).to(images)
        return contrast * others + brightness
