# SPDX-License-Identifier: Apache-2.0
"""A Gaussian for each position, shrunk as far as held-out images require (PaDiM; Ledoit and Wolf 2004)."""

from collections.abc import Callable, Mapping
from itertools import product, starmap
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .buffers import DynamicBuffers
from .precision import full_precision, widened
from .projection import random_directions

__all__ = ["PositionGaussians"]

# The covariances must fit into memory, a checkpoint and an export. Wider vectors are projected onto this many
# directions.
_MAX_CHANNELS = 256
# Fraction of the mean variance that is added to each variance: directions with little variation must not dominate.
_RIDGE = 0.01
# Fraction of the mean square that is added, too: about a hundred times the precision of the sums.
_ROUNDING = 1e-5
# Weights of a position's own mean and covariance that are tried.
_MEAN_WEIGHTS = (0.0, 0.5, 0.8, 1.0)
_COVARIANCE_WEIGHTS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
# Likewise, weights of the effect of perturbations at a position.
_PERTURBATION_WEIGHTS = (0.0, 0.5, 0.9)
# Maximum number of covariances that the likelihood is averaged over.
_PROBES = 64


class _Moments(NamedTuple):
    """Number ``(P, 1)`` and sums ``(P, K)`` of vectors at each position, of products in each block ``(B, K, K)``."""

    number: Tensor
    sums: Tensor
    products: Tensor

    def mean(self) -> Tensor:
        return self.sums / self.number.clamp_min(1)

    def of_blocks(self) -> Tensor:
        """Number of vectors in each block, ``(B,)``."""
        return self.number.view(len(self.products), -1).sum(1)

    def second(self) -> Tensor:
        """Mean product of the vectors in a block with themselves, ``(B, K, K)``."""
        return self.products / self.of_blocks().clamp_min(1)[:, None, None]

    def __add__(self, other: "_Moments") -> "_Moments":  # type: ignore[override]
        return _Moments(*(first + second for first, second in zip(self, other, strict=True)))


class _Weights(NamedTuple):
    """Weights of a position's own statistics: 1 for these alone, 0 for the statistics of all positions."""

    mean: float = 0.0
    covariance: float = 0.0
    perturbations: float = 0.0


class PositionGaussians(DynamicBuffers):
    r"""Mean and covariance of feature vectors at each position, and the squared Mahalanobis distance from them.

    Where parts are aligned, a position's own statistics are best; where parts are in arbitrary orientation, those of
    all positions are. So both are shrunk towards the statistics of all positions, with :math:`m_p` the mean at position
    :math:`p` and :math:`m` that of all:

    .. math::
        \mu_p = m + a (m_p - m), \qquad
        \Sigma_p = c\, E_p[(x - \mu_p)(x - \mu_p)^T] + (1 - c)\, E[(x - \mu)(x - \mu)^T] + \epsilon I,

    where the last expectation runs over all positions. Perturbations of an image are not defects, so their effect on
    features is added: :math:`n\, E_p[d d^T] + (1 - n) E[d d^T]`, with :math:`d` the difference that a perturbation
    makes; a shift has a large effect at an edge, and none next to it. First ``a`` and ``c``, then ``n``, are chosen as
    the weights under which held-out images are most likely, which is computed from moments alone: ``E[-2 log p] =
    tr(\Sigma_p^{-1} S_p) + log det(\Sigma_p)`` with ``S_p`` the second moment of the held-out images around
    :math:`\mu_p`.

    Neighbouring positions may share a covariance, though not a mean: blocks of 2 x 2 need a quarter of the memory, and
    have four times as many vectors to estimate it from.

    A vector of zeros is that of a position outside the region of interest, and does not count.

    Args:
        channels: Length of the vectors.
        max_channels: Number of random directions that longer vectors are projected onto.
        block: Side of the square blocks of positions that share a covariance.

    Attributes:
        projection: Orthonormal directions of shape ``(channels, K)``; empty without a projection.
        scale: Standard deviation, over all directions and positions. The other statistics are computed on vectors
            divided by it, which keeps them within the range of half precision.
        mean: Mean of each position, of shape ``(P, 1, K)``, block by block; empty until it is fitted.
        whitening: Transposed inverse of the Cholesky factor of each block's covariance, of shape ``(B, K, K)`` in
            half precision; empty likewise.
        shrinkage: The weights ``a``, ``c`` and ``n``: 1 for a position's own statistics alone, 0 for those of all
            positions.
    """

    projection: Tensor
    mean: Tensor
    whitening: Tensor
    scale: Tensor
    shrinkage: Tensor
    # Default of torch exports of version 0.2.
    block = 1

    def __init__(self, channels: int, max_channels: int = _MAX_CHANNELS, block: int = 1) -> None:
        super().__init__()
        self.block = block
        self.register_buffer("projection", random_directions(channels, max_channels))
        self.register_buffer("mean", torch.empty(0))
        self.register_buffer("whitening", torch.empty(0, dtype=torch.float16))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("shrinkage", torch.zeros(3))
        self.register_load_state_dict_pre_hook(_rename_shares)
        self.register_state_dict_post_hook(_pack)
        self.register_load_state_dict_pre_hook(_unpack)
        self.reset()

    @property
    def is_fitted(self) -> bool:
        """Whether there are statistics to compare with."""
        return self.whitening.numel() > 0

    def reset(self) -> None:
        """Discard the sums of :meth:`update`; computed statistics are kept."""
        self._seen: list[_Moments] = []
        self._perturbed: list[Tensor] = []

    def vectors(self, features: Tensor) -> Tensor:
        """Return vectors of shape ``(P, N, K)``, block by block, for features of shape ``(N, C, H, W)``.

        A grid whose size is not a multiple of the block is padded with its last row and column.
        """
        vectors = widened(features)
        if self.block > 1:
            height, width = vectors.shape[-2:]
            vectors = F.pad(vectors, (0, -width % self.block, 0, -height % self.block), mode="replicate")
            # The positions of a block come before those of the next, as (N, C, M, B).
            vectors = F.pixel_unshuffle(vectors, self.block)
            vectors = vectors.reshape(-1, features.shape[1], self.block**2, vectors.shape[-2] * vectors.shape[-1])
            vectors = vectors.permute(3, 2, 0, 1).flatten(0, 1)
        else:
            vectors = vectors.flatten(2).permute(2, 0, 1)
        return vectors @ self.projection.to(vectors.dtype) if self.projection.numel() else vectors

    @torch.no_grad()
    def update(self, features: Tensor, held_out: Tensor) -> None:
        """Add up features of normal images.

        Args:
            features: Features of shape ``(N, C, H, W)``.
            held_out: Which of them are held out to choose the shrinkage: booleans of shape ``(N,)``.

        Raises:
            ValueError: If earlier features had another size.
        """
        with full_precision(features.device):
            self.add(self.vectors(features), held_out)

    @torch.no_grad()
    def add(self, vectors: Tensor, held_out: Tensor) -> None:
        """Add up vectors of normal images as :meth:`update` does, of shape ``(P, N, K)``.

        Raises:
            ValueError: If earlier vectors had another number of positions.
        """
        positions, _, channels = vectors.shape
        blocks = positions // self.block**2
        if not self._seen:
            shapes = (positions, 1), (positions, channels), (blocks, channels, channels)
            self._seen = [_Moments(*map(vectors.new_zeros, shapes)) for _ in range(2)]
        _check_size(vectors, self._seen[0].sums)
        for moments, chosen in zip(self._seen, (~held_out, held_out), strict=True):
            part = vectors[:, chosen]
            moments.number.add_(part.any(-1).sum(1, keepdim=True))
            moments.sums.add_(part.sum(1))
            part = part.reshape(blocks, -1, channels)
            moments.products.baddbmm_(part.mT, part)

    @torch.no_grad()
    def update_perturbations(self, features: Tensor, perturbed: Tensor) -> None:
        """Add up the effect of perturbations on normal images.

        Args:
            features: Features of shape ``(N, C, H, W)``.
            perturbed: Features of the same images under each of M perturbations, of shape ``(M N, C, H, W)``.
        """
        with full_precision(features.device):
            self.add_perturbations(self.vectors(features), self.vectors(perturbed))

    @torch.no_grad()
    def add_perturbations(self, vectors: Tensor, perturbed: Tensor) -> None:
        """Add up vectors as :meth:`update_perturbations` does, of shapes ``(P, N, K)`` and ``(P, M N, K)``."""
        positions, count, channels = vectors.shape
        blocks = positions // self.block**2
        counts = vectors.any(-1)
        moved = perturbed.reshape(positions, -1, count, channels) - vectors.unsqueeze(1)
        moved = torch.where(counts[:, None, :, None], moved, 0)
        counted = counts.view(blocks, -1).sum(1) * moved.shape[1]
        moved = moved.reshape(blocks, -1, channels)
        if not self._perturbed:
            self._perturbed = [moved.new_zeros(blocks), moved.new_zeros(blocks, channels, channels)]
        number, products = self._perturbed
        number.add_(counted)
        products.baddbmm_(moved.mT, moved)

    @torch.no_grad()
    def compute(self, reduce: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> float:
        """Choose the shrinkage, and set the statistics from all images except those held out.

        Args:
            reduce: Returns the sum of a tensor over all processes; by default there is one.

        Returns:
            Negative log-likelihood of the held-out images for each direction, in nats, up to a constant; NaN without
            held-out images. The weights are then zero: one Gaussian for all positions.
        """
        self._seen = [_Moments(*map(reduce, moments)) for moments in self._seen]
        self._perturbed = [reduce(tensor) for tensor in self._perturbed]
        fitted, held_out = self._seen
        best, weights = float("nan"), _Weights()
        with full_precision(fitted.sums.device):
            if fitted.number.any() and held_out.number.any():
                counted = held_out.of_blocks().nonzero().flatten()
                probes = counted[:: -(-len(counted) // _PROBES)]

                def deviance(weights: _Weights) -> float:
                    return _deviance(held_out, *self._shrunk(fitted, weights, probes), probes)

                weights = min(starmap(_Weights, product(_MEAN_WEIGHTS, _COVARIANCE_WEIGHTS)), key=deviance)
                if self._perturbed:
                    weights = min((weights._replace(perturbations=n) for n in _PERTURBATION_WEIGHTS), key=deviance)
                best = deviance(weights)
            self.shrinkage = self.shrinkage.new_tensor(weights)
            self._set(fitted if fitted.number.any() else held_out)
        return best

    @torch.no_grad()
    def include_held_out(self, keep: bool = False) -> None:
        """Set the statistics from all images, with the shrinkage that :meth:`compute` has chosen.

        Args:
            keep: Whether more images may be added to the sums afterwards.
        """
        with full_precision(self._seen[0].sums.device):
            self._set(self._seen[0] + self._seen[1])
        if not keep:
            self.reset()

    @torch.no_grad()
    def sums(self) -> dict[str, Tensor]:
        """Return what was added up over all images, held out or not, for :meth:`continue_from`.

        Returns:
            Number of vectors ``(P, 1)`` and of perturbed ones ``(B,)``, sums of shape ``(P, K)``, and products of the
            vectors and of the effects of perturbations with themselves, of shape ``(B, K (K + 1) / 2)``: the upper
            triangles.
        """
        number, sums, products = self._seen[0] + self._seen[1]
        kept = {"number": number, "sums": sums, "products": _triangle(products)}
        if self._perturbed:
            kept |= {"perturbed": self._perturbed[0], "effects": _triangle(self._perturbed[1])}
        return {name: tensor.cpu().clone() for name, tensor in kept.items()}

    @torch.no_grad()
    def continue_from(self, sums: Mapping[str, Tensor]) -> None:
        """Continue from the sums of other images, so that the statistics become those of all.

        Args:
            sums: What :meth:`sums` returned.
        """
        kept = {name: tensor.to(self.scale.device, copy=True) for name, tensor in sums.items()}
        seen = _Moments(kept["number"], kept["sums"], _square(kept["products"]))
        self._seen = [seen, _Moments(*map(torch.zeros_like, seen))]
        self._perturbed = []
        if "perturbed" in kept:
            self._perturbed = [kept["perturbed"], _square(kept["effects"])]

    def _set(self, moments: _Moments) -> None:
        everywhere = torch.arange(len(moments.products), device=moments.sums.device)
        mean, covariance = self._shrunk(moments, _Weights(*self.shrinkage.tolist()), everywhere)
        identity = torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device)
        # Without a check, whose error would hide that of the loss, which names the images with NaN.
        factor = torch.linalg.cholesky_ex(covariance).L
        whitening = torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False).mT
        self.scale = covariance.diagonal(dim1=-2, dim2=-1).mean().sqrt()
        self.mean = mean.flatten(0, 1).unsqueeze(1) / self.scale
        self.whitening = (whitening * self.scale).half()

    def _shrunk(self, moments: _Moments, weights: _Weights, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the chosen blocks as :func:`_shrunk` gives them, under all perturbations."""
        mean, covariance = _shrunk(moments, weights.mean, weights.covariance, chosen)
        if self._perturbed:
            number, products = self._perturbed
            everywhere = products.sum(0) / number.sum().clamp_min(1)
            there = products[chosen] / number[chosen].clamp_min(1)[:, None, None]
            covariance += torch.lerp(everywhere, there, weights.perturbations)
        return mean, covariance

    def forward(self, features: Tensor) -> Tensor:
        """Return the distance of each vector from those of normal images.

        Args:
            features: Features of shape ``(N, C, H, W)``.

        Returns:
            Squared Mahalanobis distances divided by K, of shape ``(N, H, W)``, at least 0; about 1 on normal images.

        Raises:
            ValueError: If there are no statistics yet, or they were fitted to features of another size.
        """
        if not self.is_fitted:
            msg = "this model compares with normal images, but is not fitted: train it, or load a trained checkpoint."
            raise ValueError(msg)
        height, width = features.shape[-2:]
        with full_precision(features.device):
            vectors = self.vectors(features) / self.scale.to(features.dtype)
            _check_size(vectors, self.mean)
            centred = (vectors - self.mean.to(vectors.dtype)).reshape(len(self.whitening), -1, self.mean.shape[-1])
            white = centred @ self.whitening.to(vectors.dtype)
            distances = white.square().mean(-1).reshape(len(self.mean), -1).mT
            if self.block == 1:
                return distances.reshape(-1, height, width)
            rows, columns = -(-height // self.block), -(-width // self.block)
            distances = distances.reshape(-1, rows * columns, self.block**2).mT
            distances = distances.reshape(-1, self.block**2, rows, columns)
            return F.pixel_shuffle(distances, self.block)[:, 0, :height, :width]


def _triangle(products: Tensor) -> Tensor:
    """Upper triangles, row by row, of symmetric matrices ``(B, K, K)``."""
    rows, columns = torch.triu_indices(*products.shape[-2:], device=products.device)
    return products[:, rows, columns]


def _upper(triangles: Tensor) -> Tensor:
    """Upper triangular matrices of what :func:`_triangle` returns."""
    side = int(((8 * triangles.shape[1] + 1) ** 0.5 - 1) / 2 + 0.5)
    rows, columns = torch.triu_indices(side, side, device=triangles.device)
    matrices = triangles.new_zeros(len(triangles), side, side)
    matrices[:, rows, columns] = triangles
    return matrices


def _square(triangles: Tensor) -> Tensor:
    """Symmetric matrices of upper triangles."""
    upper = _upper(triangles)
    return upper + upper.triu(1).mT


def _pack(gaussians: PositionGaussians, state: dict[str, Tensor], prefix: str, _: Any) -> None:
    """Save the upper triangles of the whitening alone: below there is nothing, and they are most of a checkpoint."""
    name = f"{prefix}whitening"
    # An export to ONNX asks for the buffer itself, to distinguish it from constants of the graph.
    if gaussians.is_fitted and state[name] is not gaussians.whitening:
        state[name] = _triangle(state[name])


def _unpack(gaussians: PositionGaussians, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Take the upper triangles of the whitening; the whole matrices from an earlier version."""
    name = f"{prefix}whitening"
    if name in state and state[name].dim() == 2:
        state[name] = _upper(state[name])
        gaussians.whitening = gaussians.whitening.new_empty(state[name].shape)


def _rename_shares(gaussians: PositionGaussians, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Convert the state of a checkpoint of version 0.2."""
    del gaussians
    if f"{prefix}shares" in state:
        # It had two weights: the effect of perturbations was the same at all positions.
        shares = state.pop(f"{prefix}shares")
        state[f"{prefix}shrinkage"] = torch.cat([shares, shares.new_zeros(1)])


def _check_size(vectors: Tensor, known: Tensor) -> None:
    """Check that vectors ``(P, ...)`` have as many positions as the fitted statistics ``(P, ...)``."""
    if len(vectors) != len(known):
        msg = (
            f"images must have the training size: features have {len(vectors)} positions, the model's "
            f"statistics {len(known)}. Resize images in the pre-processor."
        )
        raise ValueError(msg)


def _shrunk(moments: _Moments, mean_weight: float, covariance_weight: float, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(b, M, K)`` and covariance ``(b, K, K)`` of the chosen blocks, which are indices ``(b,)``."""
    own = moments.mean()
    total = moments.number.sum().clamp_min(1)
    share = moments.number / total
    common = (share * own).sum(0)
    offset = own - common
    # The error of a position's mean after it is shrunk towards the common mean.
    left = (1 - mean_weight) * offset
    mean_product = moments.products.sum(0) / total
    everywhere = mean_product - own.mT @ (share * own) + left.mT @ (share * left)
    number, seen, shrunk = (_in_blocks(values, moments)[chosen] for values in (moments.number, own, left))
    there = moments.second()[chosen] - _outer(seen, number) + _outer(shrunk, number)
    covariance = torch.lerp(everywhere, there, covariance_weight)
    variance = everywhere.diagonal().mean().clamp_min(0)
    # The rounding error of differences of sums; more than zero for features that are zero in all images.
    rounding = _ROUNDING * mean_product.diagonal().mean()
    floor = _RIDGE * variance + rounding + torch.finfo(variance.dtype).eps
    covariance.diagonal(dim1=-2, dim2=-1).add_(floor)
    return common + mean_weight * _in_blocks(offset, moments)[chosen], covariance


def _in_blocks(values: Tensor, moments: _Moments) -> Tensor:
    """Values of positions ``(P, K)``, block by block, ``(B, M, K)``."""
    return values.unflatten(0, (len(moments.products), -1))


def _outer(vectors: Tensor, number: Tensor) -> Tensor:
    """Mean product with themselves, ``(b, K, K)``, of a block's vectors ``(b, M, K)``, by the number of each."""
    return (number * vectors).mT @ vectors / number.sum(1, keepdim=True).clamp_min(1)


def _deviance(moments: _Moments, mean: Tensor, covariance: Tensor, chosen: Tensor) -> float:
    """Negative log-likelihood of the vectors added up in the chosen blocks, in nats a direction, up to a constant."""
    number, seen = (_in_blocks(values, moments)[chosen] for values in (moments.number, moments.mean()))
    second = moments.second()[chosen] - _outer(seen, number) + _outer(seen - mean, number)
    factor = torch.linalg.cholesky_ex(covariance).L
    fit = torch.cholesky_solve(second, factor).diagonal(dim1=-2, dim2=-1)
    return float((fit / 2 + factor.diagonal(dim1=-2, dim2=-1).log()).mean())
