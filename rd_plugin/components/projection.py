# SPDX-License-Identifier: Apache-2.0
"""Random directions that long vectors are projected onto, so that their covariances fit into memory."""

import torch
from torch import Tensor

__all__ = ["random_directions"]


def random_directions(channels: int, most: int) -> Tensor:
    """Draw orthonormal directions; PaDiM draws channels instead (Defard et al., ICPR 2021).

    Args:
        channels: Length of the vectors.
        most: Number of directions.

    Returns:
        Directions of shape ``(channels, most)``, the same for all models; an empty tensor if vectors are no longer than
        that and need no projection.

    Example:
        >>> random_directions(8, 4).shape, random_directions(4, 4).shape
        (torch.Size([8, 4]), torch.Size([0]))
    """
    if channels <= most:
        return torch.empty(0)
    # From a separate generator, so that directions are the same for all models.
    drawn = torch.randn(channels, most, generator=torch.Generator().manual_seed(0))
    return torch.linalg.qr(drawn)[0]
