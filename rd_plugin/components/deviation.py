# SPDX-License-Identifier: Apache-2.0
"""The deviation of the student from the teacher at each position: the angle, or a Mahalanobis distance."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .buffers import DynamicBuffers
from .cosine import cosine_deviation
from .precision import full_precision, widened
from .projection import random_directions

__all__ = ["CosineDeviation", "DeviationType", "MahalanobisDeviation", "ResidualStatistics", "build_deviation"]

DeviationType = Literal["cosine", "mahalanobis"]

# The covariances of all positions must fit into memory, a checkpoint and an export. With more channels than this,
# residuals are projected onto this many random directions, as PaDiM draws random channels.
_MAX_CHANNELS = 128

# Fraction of the mean variance that is added to each variance: directions with little variation must not dominate.
_RIDGE = 0.01


class CosineDeviation(nn.Module):
    """One minus the cosine over channels, at each scale (Deng and Li, equation 1)."""

    def forward(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> list[Tensor]:
        """Return deviations of shapes ``(N, H_l, W_l)`` in [0, 2] for features of shapes ``(N, C_l, H_l, W_l)``."""
        return [cosine_deviation(t, s) for t, s in zip(teacher, student, strict=True)]


def _check_size(residual: Tensor, known: Tensor) -> None:
    """Check that residuals of shape ``(H, W, N, K)`` have the size of the fitted statistics, ``(H, W, ...)``."""
    height, width = residual.shape[:2]
    if (height, width) != known.shape[:2]:
        msg = (
            f"deviation 'mahalanobis' needs images of the training size: features have {height} x {width} "
            f"positions, its statistics {known.shape[0]} x {known.shape[1]}. Resize images in the pre-processor."
        )
        raise ValueError(msg)


class ResidualStatistics(DynamicBuffers):
    """Mean and covariance of one scale's residuals at each position, and the squared Mahalanobis distance from them.

    A residual is the teacher's direction minus the student's; half its squared length is one minus their cosine. A
    residual of zeros is that of a position outside the region of interest, and does not count.

    Args:
        channels: Channels of the features.
        max_channels: Number of directions that residuals are projected onto if the features have more channels.

    Attributes:
        projection: Orthonormal directions of shape ``(channels, K)``; empty without a projection.
        mean: Mean residual of shape ``(H, W, 1, K)``; empty before :meth:`compute`.
        whitening: Transposed inverse of the covariance's Cholesky factor, of shape ``(H, W, K, K)``; empty likewise.
    """

    projection: Tensor
    mean: Tensor
    whitening: Tensor

    def __init__(self, channels: int, max_channels: int = _MAX_CHANNELS) -> None:
        super().__init__()
        self.register_buffer("projection", random_directions(channels, max_channels))
        self.register_buffer("mean", torch.empty(0))
        self.register_buffer("whitening", torch.empty(0))
        self.reset()

    def reset(self) -> None:
        """Discard the sums of :meth:`update`."""
        self._count = self._sum = self._products = torch.empty(0)

    def _residual(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Residuals of shape ``(H, W, N, K)`` for features of shape ``(N, C, H, W)``."""
        residual = (F.normalize(widened(teacher)) - F.normalize(widened(student))).permute(2, 3, 0, 1)
        return residual @ self.projection.to(residual.dtype) if self.projection.numel() else residual

    @torch.no_grad()
    def update(self, teacher: Tensor, student: Tensor) -> None:
        """Add up the residuals of training images, from features of shape ``(N, C, H, W)``.

        Raises:
            ValueError: If earlier features had another size.
        """
        with full_precision(teacher.device):
            self.add(self._residual(teacher, student))

    @torch.no_grad()
    def add(self, residual: Tensor) -> None:
        """Add up residuals of training images, of shape ``(H, W, N, K)``.

        Raises:
            ValueError: If earlier residuals had another size.
        """
        height, width, count, channels = residual.shape
        if not self._count.numel():
            self._count = residual.new_zeros(height, width, 1, 1)
            self._sum = residual.new_zeros(height, width, 1, channels)
            self._products = residual.new_zeros(height, width, channels, channels)
        _check_size(residual, self._sum)
        self._count += residual.any(-1, keepdim=True).sum(2, keepdim=True)
        self._sum += residual.sum(2, keepdim=True)
        flat = residual.reshape(-1, count, channels)
        self._products.view(-1, channels, channels).baddbmm_(flat.mT, flat)

    @torch.no_grad()
    def compute(self, reduce: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> None:
        """Set :attr:`mean` and :attr:`whitening` from the sums, and discard the sums.

        Args:
            reduce: Returns the sum of a tensor over all processes; by default there is one.
        """
        number = reduce(self._count).clamp_min(1)
        mean, whitening = reduce(self._sum) / number, reduce(self._products)
        identity = torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device)
        with full_precision(mean.device):
            for row, mean_row, count in zip(whitening, mean, number, strict=True):
                # Row by row and in place: wide features leave no memory for several covariances of each position.
                covariance = row / count - mean_row.mT @ mean_row
                variance = covariance.diagonal(dim1=-2, dim2=-1)
                # The last term is for positions without variation, as with a single image.
                variance += _RIDGE * variance.mean(-1, keepdim=True).clamp_min(0) + torch.finfo(row.dtype).eps
                factor = torch.linalg.cholesky(covariance)
                row.copy_(torch.linalg.solve_triangular(factor, identity.expand_as(row), upper=False).mT)
        self.mean, self.whitening = mean, whitening
        self.reset()

    def forward(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return the distance of each residual from those of training images.

        Args:
            teacher: Features of shape ``(N, C, H, W)``.
            student: Features of the same shape.

        Returns:
            Squared distances divided by K, of shape ``(N, H, W)``, at least 0; about 1 on normal images.

        Raises:
            ValueError: If there are no statistics yet, or they were fitted to features of another size.
        """
        if not self.whitening.numel():
            msg = (
                "deviation 'mahalanobis' compares with training images, but its statistics are not fitted: train the "
                "model, or load a trained checkpoint."
            )
            raise ValueError(msg)
        with full_precision(teacher.device):
            residual = self._residual(teacher, student)
            _check_size(residual, self.whitening)
            white = (residual - self.mean.to(residual.dtype)) @ self.whitening.to(residual.dtype)
            return white.square().mean(-1).permute(2, 0, 1)


class MahalanobisDeviation(nn.Module):
    """Mahalanobis distance of the student's residuals from those of training images, at each scale and position.

    The cosine weights all directions equally. Texture is hard to reconstruct, and the student has errors in some
    directions even on normal images. Here an error is weighted by how unusual it is at its position. The statistics are
    PaDiM's (Defard et al., ICPR 2021, section III), computed on residuals instead of features.

    Squared distances are summed over scales, as log-likelihoods are. Roots are not suitable for this: the root of a
    mean over K directions varies by about ``1 / sqrt(2 K)`` on normal images, so scales with many channels would have
    the smallest weight.

    Args:
        channels: Channels of each scale's features, fine to coarse.
    """

    def __init__(self, channels: Iterable[int]) -> None:
        super().__init__()
        self.scales = nn.ModuleList(ResidualStatistics(count) for count in channels)
        self.register_load_state_dict_pre_hook(_tell_how_to_add)

    def _statistics(self) -> list[ResidualStatistics]:
        return cast("list[ResidualStatistics]", list(self.scales))

    def reset(self) -> None:
        """Discard the sums of :meth:`update`; statistics of an earlier :meth:`compute` are kept."""
        for scale in self._statistics():
            scale.reset()

    def update(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> None:
        """Add up features of training images, of shapes ``(N, C_l, H_l, W_l)``, made in evaluation mode."""
        for scale, *features in zip(self._statistics(), teacher, student, strict=True):
            scale.update(*features)

    def compute(self, reduce: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> None:
        """Set the statistics of all scales from the sums, see :meth:`ResidualStatistics.compute`."""
        for scale in self._statistics():
            scale.compute(reduce)

    def forward(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> list[Tensor]:
        """Return the part of each scale in the squared distance.

        Args:
            teacher: Features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.
            student: Features of the same shapes.

        Returns:
            Squared distances of shapes ``(N, H_l, W_l)``, divided by the number of directions of all scales together:
            their sum is about 1 on normal images.

        Raises:
            ValueError: If there are no statistics yet, or they were fitted to images of another size.
        """
        squared = [scale(t, s) for scale, t, s in zip(self.scales, teacher, student, strict=True)]
        directions = [scale.mean.shape[-1] for scale in self._statistics()]
        return [part * (count / sum(directions)) for part, count in zip(squared, directions, strict=True)]


def _tell_how_to_add(_: MahalanobisDeviation, state: dict[str, Tensor], prefix: str, *__: Any) -> None:
    """Drop a flag of version 0.2, whose torch exports look for this function by its name."""
    state.pop(f"{prefix}squared", None)


def build_deviation(kind: DeviationType, channels: Iterable[int]) -> CosineDeviation | MahalanobisDeviation:
    """Build the module that compares teacher and student.

    Args:
        kind: ``"cosine"`` or ``"mahalanobis"``.
        channels: Channels of each scale's features, fine to coarse.

    Raises:
        ValueError: If ``kind`` is neither.

    Example:
        >>> deviation = build_deviation("mahalanobis", [8])
        >>> teacher, student = torch.randn(2, 99, 8, 4, 4, generator=torch.Generator().manual_seed(0)).unbind()
        >>> deviation.update([teacher], [student])
        >>> deviation.compute()
        >>> [round(distances.mean().item(), 1) for distances in deviation([teacher], [student])]
        [1.0]
    """
    if kind == "cosine":
        return CosineDeviation()
    if kind == "mahalanobis":
        return MahalanobisDeviation(channels)
    msg = f"deviation must be 'cosine' or 'mahalanobis', got {kind!r}."
    raise ValueError(msg)
