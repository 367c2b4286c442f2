# SPDX-License-Identifier: Apache-2.0
"""Twins of normal images with simplex noise in a rectangle (Tien et al., CVPR 2023)."""

import numpy as np
import torch
from opensimplex import OpenSimplex
from timm.data.constants import IMAGENET_DEFAULT_STD
from torch import Tensor

__all__ = ["SimplexTwins", "simplex_noise"]

_OCTAVES, _PERSISTENCE = 6, 0.6
# Pixels per cell of the first octave; each further octave halves it.
_PERIOD = 32
# Strength of the noise, for images in [0, 1].
_AMPLITUDE = 0.2
# Height and width of the rectangle as fractions of the image's sides: 10 to 31 pixels of 256.
_SHORTEST, _LONGEST = 10 / 256, 31 / 256


def simplex_noise(shape: tuple[int, int, int], seed: int, octaves: int = _OCTAVES) -> np.ndarray:
    """Return OpenSimplex noise: the octave ``k`` has the amplitude ``0.6 ** k`` and ``2 ** k`` cells in 32 pixels.

    Args:
        shape: Channels, height and width.
        seed: The same seed gives the same field; a larger field begins with the smaller one.
        octaves: Number of octaves.

    Returns:
        Values around 0 of the given shape, mostly in [-1, 1].

    Example:
        >>> simplex_noise((3, 8, 8), seed=2).shape
        (3, 8, 8)
    """
    noise = OpenSimplex(seed)
    channels, rows, columns = (np.arange(length, dtype=float) for length in shape)
    frequencies = [2**octave / _PERIOD for octave in range(octaves)]
    field = [noise.noise3array(columns * each, rows * each, channels * each) for each in frequencies]
    return np.tensordot(_PERSISTENCE ** np.arange(octaves), np.stack(field), axes=1)


class SimplexTwins:
    """Give each image a twin with simplex noise inside one random rectangle.

    ``I' = I + 0.2 z`` in the rectangle, for images in [0, 1], and not clipped. As in the authors' program there is one
    noise field ``z`` in a run, which follows from torch's seed: each rectangle shows its upper left corner. Places and
    sizes come from torch's global generator.

    Example:
        >>> twins, masks = SimplexTwins()(torch.rand(4, 3, 64, 64))
        >>> twins.shape, masks.shape
        (torch.Size([4, 3, 64, 64]), torch.Size([4, 1, 64, 64]))
    """

    def __init__(self) -> None:
        self._seed = torch.initial_seed() % 2**63
        self._field = torch.empty(3, 0, 0)

    def _noise(self, height: int, width: int) -> Tensor:
        """The first rows and columns of the field, of shape ``(3, height, width)``."""
        known = self._field.shape[1:]
        if height > known[0] or width > known[1]:
            whole = (3, max(height, known[0]), max(width, known[1]))
            self._field = torch.from_numpy(simplex_noise(whole, self._seed))
        return self._field[:, :height, :width]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Make twins.

        Args:
            images: Images of shape ``(N, 3, H, W)``, normalized by ImageNet's mean and deviation.

        Returns:
            Twins of shape ``(N, 3, H, W)`` and masks of shape ``(N, 1, H, W)``, 1 in the rectangles.
        """
        noise, masks = torch.zeros_like(images), torch.zeros_like(images[:, :1])
        sides = images.shape[-2:]
        # The whole field at once, since it is slow.
        self._noise(*(_longest(side) for side in sides))
        for added, mask in zip(noise, masks, strict=True):
            lengths = [int(torch.randint(_shortest(side), _longest(side) + 1, ())) for side in sides]
            rows, columns = (
                slice(first := int(torch.randint(1, max(2, side - length), ())), first + length)
                for side, length in zip(sides, lengths, strict=True)
            )
            added[:, rows, columns] = _AMPLITUDE * self._noise(*lengths).to(images)
            mask[:, rows, columns] = 1
        return images + noise / torch.tensor(IMAGENET_DEFAULT_STD).to(images).view(3, 1, 1), masks


def _shortest(side: int) -> int:
    return max(1, round(_SHORTEST * side))


def _longest(side: int) -> int:
    return max(1, round(_LONGEST * side))
