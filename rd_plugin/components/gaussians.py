# SPDX-License-Identifier: Apache-2.0
"""A Gaussian for each position, as much its own as held-back images bear out (after PaDiM; Ledoit and Wolf 2004)."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .buffers import DynamicBuffers
from .precision import full_precision, widened
from .projection import random_directions

__all__ = ["PositionGaussians", "held_back"]

# The covariance of each position has to fit into memory, a checkpoint and an export. Wider vectors are projected onto
# this many directions.
_MAX_CHANNELS = 256
# Of the mean variance, added to each: directions in which good images hardly differ must not count for everything.
_RIDGE = 0.01
# Of the mean square, likewise: about a hundred times the precision of what is added up.
_ROUNDING = 1e-5
# How much of its own a position's mean and covariance may have.
_MEAN_SHARES = (0.0, 0.5, 0.8, 1.0)
_COVARIANCE_SHARES = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
# Positions that the likelihood is computed at, at most: it is a mean over all of them.
_PROBES = 64


# Every so many-th image judges what is learned from the others.
_HOLD_BACK = 4


def held_back(places: Sequence[int]) -> Tensor:
    """Tell which training images are held back, by their places in the data set: booleans of shape ``(N,)``.

    Example:
        >>> held_back(range(8)).nonzero().flatten().tolist()
        [3, 7]
    """
    return torch.tensor(list(places), dtype=torch.int64) % _HOLD_BACK == _HOLD_BACK - 1


class _Moments(NamedTuple):
    """Number of vectors at each position, their sums ``(P, K)`` and the sums of their products ``(P, K, K)``."""

    number: Tensor
    sums: Tensor
    products: Tensor

    def mean(self) -> Tensor:
        return self.sums / self.number

    def __add__(self, other: "_Moments") -> "_Moments":  # type: ignore[override]
        return _Moments(*(first + second for first, second in zip(self, other, strict=True)))


class PositionGaussians(DynamicBuffers):
    r"""Mean and covariance of feature vectors at each position, and the squared Mahalanobis distance from them.

    Where parts lie alike in all images, a position's statistics are the sharpest; where they lie anyhow, they are
    chance, and those of all positions are right. So with :math:`m_p` the mean at position :math:`p` and :math:`m` that
    of all,

    .. math::
        \mu_p = m + a (m_p - m), \qquad
        \Sigma_p = c\, E_p[(x - \mu_p)(x - \mu_p)^T] + (1 - c)\, E[(x - \mu)(x - \mu)^T] + \epsilon I,

    where the last expectation runs over all positions. To that is added what other conditions do to the features of an
    image, which is no defect: :math:`E[d d^T]`, with :math:`d` the difference that a change makes, over all kinds of
    change and all positions. The shares ``a`` and ``c`` are those under which held-back
    images are most likely, which is computed from moments alone: ``E[-2 log p] = tr(\Sigma_p^{-1} S_p) + log
    det(\Sigma_p)`` with ``S_p`` the second moment of the held-back images around :math:`\mu_p`.

    Args:
        channels: Length of the vectors.
        max_channels: Directions that longer vectors are projected onto, drawn at random as PaDiM's channels are.

    Attributes:
        projection: Orthonormal directions of shape ``(channels, K)``; empty without a projection.
        scale: Standard deviation, over all directions and positions; what follows is of vectors that are divided by it,
            which keeps it within the range of half precision.
        mean: Mean of each position, of shape ``(P, 1, K)``; empty until something was learned.
        whitening: Transposed inverse of the Cholesky factor of each position's covariance, of shape ``(P, K, K)`` in
            half precision; likewise.
        shares: ``a`` and ``c``.
    """

    projection: Tensor
    mean: Tensor
    whitening: Tensor
    scale: Tensor
    shares: Tensor

    def __init__(self, channels: int, max_channels: int = _MAX_CHANNELS) -> None:
        super().__init__()
        self.register_buffer("projection", random_directions(channels, max_channels))
        self.register_buffer("mean", torch.empty(0))
        self.register_buffer("whitening", torch.empty(0, dtype=torch.float16))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("shares", torch.zeros(2))
        self.reset()

    @property
    def known(self) -> bool:
        """Whether anything was learned yet."""
        return self.whitening.numel() > 0

    def reset(self) -> None:
        """Forget what :meth:`update` has added up; what was learned from it stays."""
        self._seen: list[_Moments] = []
        self._conditions: list[Tensor] = []

    def vectors(self, features: Tensor) -> Tensor:
        """Return vectors of shape ``(P, N, K)`` for features of shape ``(N, C, H, W)``."""
        vectors = widened(features).flatten(2).permute(2, 0, 1)
        return vectors @ self.projection.to(vectors.dtype) if self.projection.numel() else vectors

    @torch.no_grad()
    def update(self, features: Tensor, held_back: Tensor) -> None:
        """Add up features of good images.

        Args:
            features: Features of shape ``(N, C, H, W)``.
            held_back: Which of them are to judge what is learned from the others, booleans of shape ``(N,)``.

        Raises:
            ValueError: If features before were of another size.
        """
        with full_precision(features.device):
            self.add(self.vectors(features), held_back)

    @torch.no_grad()
    def add(self, vectors: Tensor, held_back: Tensor) -> None:
        """Add up vectors of good images as :meth:`update` does, of shape ``(P, N, K)``.

        Raises:
            ValueError: If vectors before were of another number of positions.
        """
        positions, _, channels = vectors.shape
        if not self._seen:
            shapes = (), (positions, channels), (positions, channels, channels)
            self._seen = [_Moments(*map(vectors.new_zeros, shapes)) for _ in range(2)]
        _check_size(vectors, self._seen[0].sums)
        for moments, chosen in zip(self._seen, (~held_back, held_back), strict=True):
            part = vectors[:, chosen]
            moments.number.add_(part.shape[1])
            moments.sums.add_(part.sum(1))
            moments.products.baddbmm_(part.mT, part)

    @torch.no_grad()
    def update_conditions(self, usual: Tensor, changed: Tensor) -> None:
        """Add up what other conditions do to good images.

        Args:
            usual: Features of shape ``(N, C, H, W)``.
            changed: Features of the same images in each of M other conditions, of shape ``(M N, C, H, W)``.
        """
        with full_precision(usual.device):
            self.add_conditions(self.vectors(usual), self.vectors(changed))

    @torch.no_grad()
    def add_conditions(self, usual: Tensor, changed: Tensor) -> None:
        """Add up vectors as :meth:`update_conditions` does, of shapes ``(P, N, K)`` and ``(P, M N, K)``."""
        positions, count, channels = usual.shape
        moved = (changed.reshape(positions, -1, count, channels) - usual.unsqueeze(1)).reshape(-1, channels)
        if not self._conditions:
            self._conditions = [moved.new_zeros(()), moved.new_zeros(channels, channels)]
        number, products = self._conditions
        number.add_(len(moved))
        products.addmm_(moved.T, moved)

    @torch.no_grad()
    def finish(self, reduce: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> float:
        """Choose the shares, and learn from all images but those held back.

        Args:
            reduce: Returns the sum of a tensor over all processes; by default there is one.

        Returns:
            Negative log-likelihood of the held-back images for each direction, in nats, up to a constant; NaN if there
            are none, and the shares are then zero: one Gaussian for all positions.
        """
        self._seen = [_Moments(*map(reduce, moments)) for moments in self._seen]
        self._conditions = [reduce(tensor) for tensor in self._conditions]
        taught, held_back = self._seen
        best, shares = float("nan"), (0.0, 0.0)
        with full_precision(taught.sums.device):
            if taught.number > 0 and held_back.number > 0:
                step = -(-len(taught.sums) // _PROBES)
                probes = torch.arange(0, len(taught.sums), step, device=taught.sums.device)
                tried = {
                    pair: _deviance(held_back, *self._shrunk(taught, *pair, probes), probes)
                    for pair in product(_MEAN_SHARES, _COVARIANCE_SHARES)
                }
                shares = min(tried, key=tried.__getitem__)
                best = tried[shares]
            self.shares = self.shares.new_tensor(shares)
            self._learn(taught if taught.number > 0 else held_back)
        return best

    @torch.no_grad()
    def include_held_back(self) -> None:
        """Learn from all images, with the shares that :meth:`finish` has chosen, and forget what was added up."""
        with full_precision(self._seen[0].sums.device):
            self._learn(self._seen[0] + self._seen[1])
        self.reset()

    def _learn(self, moments: _Moments) -> None:
        mean_share, covariance_share = self.shares.tolist()
        everywhere = torch.arange(len(moments.sums), device=moments.sums.device)
        mean, covariance = self._shrunk(moments, mean_share, covariance_share, everywhere)
        identity = torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device)
        # Without a check, whose error would come before that of the loss, which names the images with NaN.
        factor = torch.linalg.cholesky_ex(covariance).L
        whitening = torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False).mT
        self.scale = covariance.diagonal(dim1=-2, dim2=-1).mean().sqrt()
        self.mean = mean.unsqueeze(1) / self.scale
        self.whitening = (whitening * self.scale).half()

    def _shrunk(self, moments: _Moments, *shares_and_chosen: Any) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the chosen positions as :func:`_shrunk` gives them, in all conditions."""
        mean, covariance = _shrunk(moments, *shares_and_chosen)
        if self._conditions:
            number, products = self._conditions
            covariance += products / number.clamp_min(1)
        return mean, covariance

    def forward(self, features: Tensor) -> Tensor:
        """Return how unusual each vector is.

        Args:
            features: Features of shape ``(N, C, H, W)``.

        Returns:
            Squared Mahalanobis distances over K, of shape ``(N, H, W)``, at least 0; one is usual.

        Raises:
            ValueError: If nothing was learned yet, or from features of another size.
        """
        if not self.known:
            msg = "this model compares with good images, and has seen none: train it, or load a trained checkpoint."
            raise ValueError(msg)
        with full_precision(features.device):
            vectors = self.vectors(features) / self.scale.to(features.dtype)
            _check_size(vectors, self.whitening)
            white = (vectors - self.mean.to(vectors.dtype)) @ self.whitening.to(vectors.dtype)
            return white.square().mean(-1).mT.reshape(features.shape[0], *features.shape[-2:])


def _check_size(vectors: Tensor, known: Tensor) -> None:
    """Check that vectors ``(P, ...)`` have as many positions as known statistics ``(P, ...)``."""
    if len(vectors) != len(known):
        msg = (
            f"images must have one size, that of training: features have {len(vectors)} positions, the model's "
            f"statistics {len(known)}. Resize images in the pre-processor."
        )
        raise ValueError(msg)


def _shrunk(moments: _Moments, mean_share: float, covariance_share: float, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(p, K)`` and covariance ``(p, K, K)`` of the chosen positions, which are indices ``(p,)``."""
    own = moments.mean()
    common = own.mean(0)
    offset = own - common
    # What a position's mean is off by once it is drawn to the common one.
    left = (1 - mean_share) * offset
    within = moments.products.mean(0) / moments.number - own.mT @ own / len(own)
    everywhere = within + left.mT @ left / len(left)
    there = moments.products[chosen] / moments.number - _outer(own[chosen]) + _outer(left[chosen])
    covariance = torch.lerp(everywhere, there, covariance_share)
    variance = everywhere.diagonal().mean().clamp_min(0)
    # What differences of sums are off by, and more than nothing for features that are zero in all images.
    rounding = _ROUNDING * moments.products.diagonal(dim1=-2, dim2=-1).mean() / moments.number
    floor = _RIDGE * variance + rounding + torch.finfo(variance.dtype).eps
    covariance.diagonal(dim1=-2, dim2=-1).add_(floor)
    return common + mean_share * offset[chosen], covariance


def _outer(vectors: Tensor) -> Tensor:
    return vectors.unsqueeze(2) * vectors.unsqueeze(1)


def _deviance(moments: _Moments, mean: Tensor, covariance: Tensor, chosen: Tensor) -> float:
    """Negative log-likelihood of what was added up at the chosen positions, in nats a direction, up to a constant."""
    seen = moments.mean()[chosen]
    second = moments.products[chosen] / moments.number - _outer(seen) + _outer(seen - mean)
    factor = torch.linalg.cholesky_ex(covariance).L
    fit = torch.cholesky_solve(second, factor).diagonal(dim1=-2, dim2=-1)
    return float((fit / 2 + factor.diagonal(dim1=-2, dim2=-1).log()).mean())
