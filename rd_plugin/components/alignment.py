# SPDX-License-Identifier: Apache-2.0
"""Registration of images to the mean of good ones: shifted parts are moved before the networks process them."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

__all__ = ["AlignType", "AlignedBatch", "Alignment", "Registration"]

AlignType = Literal["none", "translation"]

# Images are compared on a grid of so many positions along the longer side, and at least so many along the shorter one.
_LONGER, _SHORTER = 64, 16
# Standard deviation of the low-pass before the grid, in its steps.
_SIGMA = 0.7
# The largest shift as a share of the side.
_REACH = 1 / 8
# Layouts that normal images may have, such as two or three busbars; one that fewer than this share has is not kept.
_LAYOUTS, _LEAST_SHARE = 2, 0.05
_ROUNDS = 10
# Positions around the peak, either way, that belong to it.
_PEAK = 2
# Least correlation and lead of the peak: shares of a low quantile of normal images, but never less than the floor.
_QUANTILES, _SHARES, _FLOORS = (0.01, 0.05), (0.6, 0.2), (0.4, 0.01)
# Features next to the filled border are changed up to this many times the shift.
_BESIDE = 4
# Energy of gradients below which an image is flat.
_FLAT = 1e-6


class Registration(NamedTuple):
    """Where the parts in images are.

    Args:
        shift: How far each part is below and to the right of its usual position, of shape ``(N, 2)``, in pixels; 0 if
            it could not be registered.
        correlation: With the mean of good images where they fit best, of shape ``(N, 1)``, in [-1, 1].
        registered: Whether the place is certain, booleans of shape ``(N, 1)``.
    """

    shift: Tensor
    correlation: Tensor
    registered: Tensor

    def packed(self, size: Sequence[int]) -> Tensor:
        """Return all as one output of a graph.

        Args:
            size: Height and width of the images, in pixels.

        Returns:
            Of shape ``(N, 4)``: 1 if registered or 0, correlation, and shift to the right and down as shares of width
            and height.
        """
        rows, columns = self.shift.split(1, dim=1)
        return torch.cat([self.registered.to(rows), self.correlation, columns / size[1], rows / size[0]], dim=1)


class AlignedBatch(NamedTuple):
    """anomalib's ``InferenceBatch`` with one more field.

    Args:
        pred_score: Scores of shape ``(N, 1)``.
        pred_label: Labels of shape ``(N, 1)``.
        anomaly_map: Maps of shape ``(N, 1, H, W)``.
        pred_mask: Masks of shape ``(N, 1, H, W)``.
        registration: What :meth:`Registration.packed` returns, of shape ``(N, 4)``.
    """

    pred_score: Tensor | None = None
    pred_label: Tensor | None = None
    anomaly_map: Tensor | None = None
    pred_mask: Tensor | None = None
    registration: Tensor | None = None


class Alignment(nn.Module):
    r"""Translation of images to where normal images have their part.

    Brightness is reduced to a coarse grid, and its gradients :math:`g` are correlated with the mean gradients :math:`t`
    of normal images, at each shift :math:`s` over the positions that both have:
    :math:`\sum_x t(x) g(x + s) / (\lVert t \rVert \lVert g \rVert)`. The position of the highest value is the shift,
    and a parabola through its neighbours gives the fraction. Contrast and brightness have no influence. There is no
    iteration: each runtime computes the same few products with constants. A place is certain if the correlation, and
    its lead over the values elsewhere, are not far below those of normal images, and the peak is not at the border of
    the search.

    Args:
        size: Height and width of images, in pixels.

    Attributes:
        templates: Mean gradients of up to two layouts of normal images, to the right and down, of shape
            ``(2, 2, h, w)``; 0 until it is fitted.
        least: Least correlation and lead.
        picture: Mean of aligned normal images, of shape ``(1, 3, H, W)``, each channel with mean 0 and standard
            deviation 1: with an image's own brightness and contrast, it fills the border of moved images.
        is_fitted: Whether it is fitted to normal images.

    Example:
        >>> images = torch.rand(8, 3, 1, 64).repeat_interleave(8, 0).expand(64, 3, 64, 64).cumsum(2)
        >>> Alignment((64, 64)).is_fitted
        False
    """

    templates: Tensor
    least: Tensor
    picture: Tensor
    # Of the grid along height and width: low-pass, derivative of it, and what is seen at each shift.
    rows: Tensor
    columns: Tensor
    row_slopes: Tensor
    column_slopes: Tensor
    seen_rows: Tensor
    seen_columns: Tensor
    bank: Tensor

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("templates", torch.zeros(0))
        self.register_buffer("least", torch.zeros(2))
        self.register_buffer("picture", torch.zeros(0))
        self.register_load_state_dict_post_hook(_rebuild)
        self.set_size(size)

    def set_size(self, size: Sequence[int]) -> None:
        """Prepare for images of a height and width, in pixels; what was fitted for others is lost."""
        self.size = (int(size[0]), int(size[1]))
        scale = min(1, _LONGER / max(self.size))
        grid = [max(_SHORTER, round(side * scale)) for side in self.size]
        self.reach = [max(_PEAK, round(_REACH * count)) for count in grid]
        device = self.templates.device
        for name, side, count, reach in zip(("row", "column"), self.size, grid, self.reach, strict=True):
            pooling = _pooling(side, count)
            made = {f"{name}s": pooling, f"{name}_slopes": _slopes(count), f"seen_{name}s": _overlap(count, reach)}
            for key, value in made.items():
                self.register_buffer(key, torch.from_numpy(value).float().to(device), persistent=False)
        if list(self.templates.shape) != [_LAYOUTS, 2, *grid]:
            self.templates = torch.zeros(_LAYOUTS, 2, *grid, device=device)
        if list(self.picture.shape) != [1, 3, *self.size]:
            self.picture = torch.zeros(1, 3, *self.size, device=device)
        self.build()

    @torch.no_grad()
    def build(self) -> None:
        """Make the matrix of all shifted templates, each with a norm of 1, for brightness on the grid."""
        # A plain value, on which a graph's shape may depend.
        self.is_fitted = bool(self.templates.any())
        (down, right), (height, width) = self.reach, self.templates.shape[-2:]
        windows = F.pad(self.templates, (right, right, down, down)).unfold(-2, height, 1).unfold(-2, width, 1)
        # A part that is lower shows the template at earlier rows of its window.
        shifted = windows.flip(2, 3).movedim(1, 3)
        norm = torch.linalg.vector_norm(shifted, dim=(-3, -2, -1), keepdim=True).clamp_min(_FLAT)
        across, along = (shifted / norm).unbind(-3)
        # Gradients are linear, too, so that only brightness has to be multiplied.
        grey = across @ self.column_slopes + self.row_slopes.mT @ along
        bank = grey.flatten(0, 2).flatten(1).mT.contiguous()
        self.register_buffer("bank", bank, persistent=False)

    def reduce(self, images: Tensor) -> Tensor:
        """Return brightness on the grid, of shape ``(N, h, w)``, for images of shape ``(N, 3, H, W)``."""
        grey = images.float().mean(1)
        # Products with small numbers are more exact.
        return self.rows @ (grey - grey.mean((1, 2), keepdim=True)) @ self.columns.mT

    def gradients(self, grey: Tensor) -> Tensor:
        """Return gradients to the right and down, of shape ``(N, 2, h, w)``, of brightness on the grid."""
        return torch.stack([grey @ self.column_slopes.mT, self.row_slopes @ grey], dim=1)

    def correlation(self, grey: Tensor) -> Tensor:
        """Return the correlation at each shift, of shape ``(N, 2 down + 1, 2 right + 1)``, highest of all layouts."""
        energy = self.seen_rows @ self.gradients(grey).square().sum(1) @ self.seen_columns.mT
        products = (grey.flatten(1) @ self.bank).unflatten(1, (_LAYOUTS, *energy.shape[1:]))
        return products.amax(1) / (energy + _FLAT).sqrt()

    def locate(self, grey: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Find the peak of the correlation.

        Args:
            grey: Brightness on the grid, of shape ``(N, h, w)``.

        Returns:
            Shift down and to the right in steps of the grid, of shape ``(N, 2)``; correlation, lead over values
            elsewhere, and whether it is within the search, of shape ``(N, 1)``.
        """
        (down, right), values = self.reach, self.correlation(grey)
        flat, across = values.flatten(1), 2 * right + 1
        index = flat.argmax(dim=1, keepdim=True)
        row, column = index // across, index % across
        inner_row, inner_column = row.clamp(1, 2 * down - 1), column.clamp(1, 2 * right - 1)
        within = (row == inner_row) & (column == inner_column)
        centre = inner_row * across + inner_column
        peak, above, below, left, after = (flat.gather(1, centre + offset) for offset in (0, -across, across, -1, 1))
        shift = torch.cat(
            [inner_row - down + _vertex(above, peak, below), inner_column - right + _vertex(left, peak, after)], dim=1
        )
        rows = torch.arange(2 * down + 1, device=grey.device).view(1, -1, 1)
        columns = torch.arange(across, device=grey.device).view(1, 1, -1)
        elsewhere = ((rows - row[..., None]).abs() > _PEAK) | ((columns - column[..., None]).abs() > _PEAK)
        second = torch.where(elsewhere, values, -1.0).flatten(1).amax(1, keepdim=True)
        return shift, peak, peak - second, within

    def forward(self, images: Tensor) -> Registration:
        """Return where the parts in images of shape ``(N, 3, H, W)`` are."""
        device = images.device.type
        # Half precision has too few digits for a fraction of a pixel.
        with torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext():
            shift, peak, lead, within = self.locate(self.reduce(images))
            # Comparisons with NaN are false.
            registered = within & (peak >= self.least[0]) & (lead >= self.least[1])
            return Registration(torch.where(registered, self._in_pixels(shift), 0.0), peak, registered)

    def _in_pixels(self, shift: Tensor) -> Tensor:
        """Shift in pixels for one in steps of the grid."""
        steps = [side / count for side, count in zip(self.size, self.templates.shape[-2:], strict=True)]
        rows, columns = shift.split(1, dim=1)
        return torch.cat([rows * steps[0], columns * steps[1]], dim=1)

    @torch.no_grad()
    def fit(self, grey: Tensor) -> Tensor:
        """Fit the place of parts in normal images, in two rounds: to their mean, and to that of registered ones.

        Args:
            grey: Brightness on the grid, as :meth:`reduce` returns it, of shape ``(N, h, w)``.

        Returns:
            Booleans of shape ``(N,)``: which of them can be registered.
        """
        grey = grey[grey.flatten(1).isfinite().all(1)]
        self._average(self._normalized(grey).mean(0, keepdim=True).expand(_LAYOUTS, -1, -1, -1))
        for _ in range(2):
            shift, _, _, within = self.locate(grey)
            placed = shifted(grey.unsqueeze(1), torch.where(within, shift, 0.0)).squeeze(1)
            self._average(_two_means(self._normalized(placed)))
        _, peak, lead, within = self.locate(grey)
        found = zip((peak, lead), _QUANTILES, _SHARES, _FLOORS, strict=True)
        self.least.copy_(torch.stack([(share * v.quantile(q)).clamp_min(floor) for v, q, share, floor in found]))
        return (within & (peak >= self.least[0]) & (lead >= self.least[1])).flatten()

    def _normalized(self, grey: Tensor) -> Tensor:
        """Gradients with a norm of 1 for each image."""
        return F.normalize(self.gradients(grey).flatten(1), dim=1).unflatten(1, (2, *grey.shape[1:]))

    def _average(self, means: Tensor) -> None:
        """Set the templates."""
        self.templates.copy_(means)
        self.build()

    def seen(self, shift: Tensor, size: Sequence[int], reach: int = 0) -> Tensor:
        """Return which pixels of images after :func:`shifted` come from within the images.

        Args:
            shift: Of shape ``(N, 2)``, in pixels.
            size: Height and width of the images.
            reach: How far, in pixels, the filled border changes the features next to it. Pixels nearer to it
                than that, or than a few times the shift, do not count either.

        Returns:
            Booleans of shape ``(N, 1, *size)``.
        """
        inside = []
        for each, by, side in zip(_sources(shift, size), shift.split(1, dim=1), size, strict=True):
            beside = (_BESIDE * by.abs()).clamp_max(reach)
            low, high = torch.where(by < -0.5, beside, 0.0), torch.where(by > 0.5, beside, 0.0)
            inside.append((each >= low - 0.5) & (each <= side - 0.5 - high))
        return (inside[0].unsqueeze(2) & inside[1].unsqueeze(1)).unsqueeze(1)

    def aligned(self, images: Tensor, registration: Registration) -> Tensor:
        """Return images with their part in its usual position; unregistered ones unchanged, bit for bit."""
        mean, deviation = _moments(images)
        seen = self.seen(registration.shift, images.shape[-2:])
        moved = torch.where(seen, shifted(images, registration.shift), self.picture * deviation + mean)
        return torch.where(registration.registered[..., None, None], moved, images)

    @torch.no_grad()
    def fit_picture(self, mean: Tensor) -> None:
        """Set the filling of borders to the mean of aligned normal images, of shape ``(1, 3, H, W)``."""
        centre, deviation = _moments(mean)
        self.picture.copy_((mean - centre) / deviation.clamp_min(_FLAT))

    def returned(self, anomaly_map: Tensor, registration: Registration) -> Tensor:
        """Return maps of aligned images for the images themselves; pixels without features get the map's lowest value.

        Args:
            anomaly_map: Maps of shape ``(N, 1, H, W)``.
            registration: Where the parts are.
        """
        back = -registration.shift
        moved = torch.where(
            self.seen(back, anomaly_map.shape[-2:]),
            shifted(anomaly_map, back),
            anomaly_map.amin((-2, -1), keepdim=True),
        )
        return torch.where(registration.registered[..., None, None], moved, anomaly_map)


def shifted(images: Tensor, shift: Tensor) -> Tensor:
    """Return images that show at each position what was further down and to the right by a shift.

    Args:
        images: Of shape ``(N, C, H, W)``.
        shift: Of shape ``(N, 2)``, in pixels.

    Returns:
        Images of the same shape, interpolated; the border is filled with the mirror image.
    """
    height, width = images.shape[-2:]
    rows, columns = _sources(shift, (height, width))
    rows, columns = rows * (2 / (height - 1)) - 1, columns * (2 / (width - 1)) - 1
    grid = torch.stack(
        [columns.unsqueeze(1).expand(-1, height, -1), rows.unsqueeze(2).expand(-1, -1, width)], dim=-1
    ).to(images)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=True)


def _sources(shift: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Rows of shape ``(N, H)`` and columns of shape ``(N, W)`` that images are taken from."""
    rows, columns = (torch.arange(side, device=shift.device, dtype=shift.dtype) for side in size)
    return rows + shift[:, :1], columns + shift[:, 1:]


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, of shape ``(N, 3, 1, 1)``."""
    mean = images.mean((2, 3), keepdim=True)
    return mean, (images - mean).square().mean((2, 3), keepdim=True).sqrt()


def _vertex(before: Tensor, peak: Tensor, after: Tensor) -> Tensor:
    """Where the parabola through three values has its vertex, in [-0.5, 0.5]."""
    curvature = (before - 2 * peak + after).clamp_max(-_FLAT)
    return ((before - after) / (2 * curvature)).clamp(-0.5, 0.5)


def _two_means(gradients: Tensor) -> Tensor:
    """Mean gradients of the two layouts that normalized ones of shape ``(N, 2, h, w)`` show; equal if there is one."""
    flat = gradients.flatten(1)
    mean = flat.mean(0)
    alike = flat @ F.normalize(mean, dim=0)
    # Those that are most unlike the others begin the second layout.
    second = flat @ flat[alike.argmin()] > alike
    for _ in range(_ROUNDS):
        if min(second.sum(), (~second).sum()) < max(2, _LEAST_SHARE * len(flat)):
            return mean.view_as(gradients[:1]).expand(_LAYOUTS, -1, -1, -1)
        means = torch.stack([flat[~second].mean(0), flat[second].mean(0)])
        first, other = (flat @ F.normalize(means, dim=1).mT).unbind(1)
        second = other > first
    return means.unflatten(1, gradients.shape[1:])


def _pooling(side: int, count: int) -> np.ndarray:
    """Matrix of shape ``(count, side)`` that blurs along one axis and takes positions; the border is repeated."""
    step = side / count
    beyond = int(np.ceil(4 * _SIGMA * step))
    pixels = np.arange(-beyond, side + beyond)
    centres = (np.arange(count) + 0.5) * step - 0.5
    weights = np.exp(-0.5 * ((pixels - centres[:, None]) / (_SIGMA * step)) ** 2)
    matrix = np.zeros((count, side))
    np.add.at(matrix.T, pixels.clip(0, side - 1), (weights / weights.sum(1, keepdims=True)).T)
    return matrix


def _slopes(count: int) -> np.ndarray:
    """Matrix of shape ``(count, count)`` of central differences."""
    places, matrix = np.arange(count), np.zeros((count, count))
    np.add.at(matrix, (places, (places + 1).clip(0, count - 1)), 0.5)
    np.add.at(matrix, (places, (places - 1).clip(0, count - 1)), -0.5)
    return matrix


def _overlap(count: int, reach: int) -> np.ndarray:
    """Matrix of shape ``(2 reach + 1, count)``: 1 where a position has a partner in the template at a shift."""
    partners = np.arange(count) - np.arange(-reach, reach + 1)[:, None]
    return ((partners >= 0) & (partners < count)).astype(float)


def _rebuild(alignment: Alignment, _: object) -> None:
    alignment.build()
