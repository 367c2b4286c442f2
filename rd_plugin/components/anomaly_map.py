# SPDX-License-Identifier: Apache-2.0
"""From the deviations of each scale to one anomaly map and an image score (Deng and Li, section 3.4)."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .precision import full_precision
from .resampling import BlurBorder, resampling_matrix

__all__ = ["AnomalyMapGenerator", "AnomalyMapMode", "ImageScore", "ScoreType", "is_count"]

AnomalyMapMode = Literal["add", "mean", "multiply"]
ScoreType = Literal["max", "mean"] | float

# Side of an area, in pixels: the middle stride of a pyramid.
_AREA = 8


@lru_cache(maxsize=256)
def _kept_matrix(
    sources: tuple[int, ...], target: int, sigma: float, border: BlurBorder, device: torch.device
) -> Tensor:
    # Made outside inference mode: the tensor is kept and autograd may need it later.
    with torch.inference_mode(mode=False):
        return torch.from_numpy(resampling_matrix(sources, target, sigma, border)).to(device)


# When dynamo traces, the matrix is a constant, and numpy is not traced.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _matrix(sources: tuple[int, ...], target: int, sigma: float, border: BlurBorder, device: torch.device) -> Tensor:
    if torch.compiler.is_exporting():
        # A graph that is being exported needs its own constant, not a tensor from a cache.
        return torch.from_numpy(resampling_matrix(sources, target, sigma, border)).to(device)
    return _kept_matrix(sources, target, sigma, border, device)


def _resample(maps: Sequence[Tensor], size: Sequence[int], sigma: float, border: BlurBorder) -> Tensor:
    """Interpolate maps of shapes ``(N, h_l, w_l)`` to ``(N, *size)``, blur and add them."""
    shapes = [tuple(scale.shape[-2:]) for scale in maps]
    if not all(isinstance(side, int) for sides in (*shapes, size) for side in sides):
        msg = (
            "An exported model needs images of one size: give input_size, or a pre-processor that resizes. "
            f"Got maps of {shapes} and images of {tuple(size)}."
        )
        raise ValueError(msg)
    device = maps[0].device
    axes = list(zip(zip(*shapes, strict=True), size, strict=True))
    # Square images have one matrix for both axes, also in an export.
    matrices = {axis: _matrix(*axis, sigma, border, device) for axis in axes}
    rows, columns = (matrices[axis] for axis in axes)
    heights = [height for height, _ in shapes]
    # Under autocast the products would be in 16 bits, which changes scores by more than a threshold's precision.
    with full_precision(device):
        # Each scale is enlarged to the full height, transposed; then one product enlarges all to the full width
        # and adds them.
        # Constants are on the right, the form that int8 runtimes support.
        tall = [F.linear(scale.mT, matrix) for scale, matrix in zip(maps, rows.split(heights, dim=1), strict=True)]
        return F.linear(torch.cat(tall, dim=1).mT, columns)


class AnomalyMapGenerator(nn.Module):
    """Resize the deviations of all scales to the image's size, combine and blur them.

    Args:
        mode: ``"add"`` (the authors' default), ``"mean"`` (their mean, as in Dinomaly) or ``"multiply"`` the scales.
        sigma: Standard deviation of the Gaussian blur, in pixels of the input; 0 for none.
        border: How the blur pads the border, in numpy's terms: ``"symmetric"`` repeats the edge pixel (the authors;
            SciPy calls it ``reflect``), ``"reflect"`` does not (anomalib's own model).

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> generator = AnomalyMapGenerator()
        >>> generator([torch.ones(2, 8, 8), torch.ones(2, 4, 4)], (32, 48)).shape
        torch.Size([2, 1, 32, 48])
    """

    def __init__(
        self,
        mode: AnomalyMapMode = "add",
        sigma: float = 4.0,
        border: BlurBorder = "symmetric",
    ) -> None:
        super().__init__()
        if mode not in {"add", "mean", "multiply"}:
            msg = f"anomaly_map_mode must be 'add', 'mean' or 'multiply', got {mode!r}."
            raise ValueError(msg)
        if border not in {"symmetric", "reflect"}:
            msg = f"blur_border must be 'symmetric' or 'reflect', got {border!r}."
            raise ValueError(msg)
        if sigma < 0:
            msg = f"blur_sigma must be at least 0 pixels, got {sigma}."
            raise ValueError(msg)
        self.mode = mode
        self.sigma = float(sigma)
        self.border: BlurBorder = border

    def scale_maps(self, deviations: Sequence[Tensor], size: Sequence[int]) -> list[Tensor]:
        """Return each scale's own map, not blurred.

        Args:
            deviations: Deviations of shapes ``(N, h_l, w_l)``, one for each scale.
            size: Height and width of the maps, in pixels.

        Returns:
            Maps of shape ``(N, 1, *size)`` with the deviations' range, one for each scale.
        """
        return [_resample([deviation], size, 0.0, self.border).unsqueeze(1) for deviation in deviations]

    def forward(self, deviations: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Return the anomaly map.

        Args:
            deviations: Deviations of shapes ``(N, h_l, w_l)``, one for each scale.
            size: Height and width of the map, in pixels.

        Returns:
            Map of shape ``(N, 1, *size)``; from 0 to twice the number of scales when added.
        """
        if self.mode != "multiply":
            total = _resample(deviations, size, self.sigma, self.border).unsqueeze(1)
            return total if self.mode == "add" else total / len(deviations)
        product = torch.stack(self.scale_maps(deviations, size)).prod(dim=0).squeeze(1)
        return _resample([product], size, self.sigma, self.border).unsqueeze(1)


class ImageScore(nn.Module):
    """Reduce an anomaly map to an image score.

    Args:
        kind: ``"max"`` (the paper), ``"mean"`` (the authors' second choice for one-class images, up to a factor), a
            fraction in (0, 1]: the mean of that fraction of the pixels, those with the highest values, or a whole
            number of at least 2: the mean of the highest pixels of so many areas of 8 x 8 pixels.

    Raises:
        ValueError: If ``kind`` is none of these.

    Example:
        >>> ImageScore(0.5)(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
        tensor([[3.5000]])
        >>> ImageScore(2)(torch.arange(3.0).repeat_interleave(8).expand(1, 1, 8, 24))
        tensor([[1.5000]])
    """

    def __init__(self, kind: ScoreType = "max") -> None:
        super().__init__()
        number = kind if isinstance(kind, (int, float)) and not isinstance(kind, bool) else -1
        if kind not in {"max", "mean"} and not (0 < number <= 1 or is_count(number)):
            msg = (
                "score must be 'max', 'mean', a fraction in (0, 1] or a whole number of areas of at least 2, "
                f"got {kind!r}."
            )
            raise ValueError(msg)
        self.kind = kind

    def forward(self, anomaly_map: Tensor) -> Tensor:
        """Return scores of shape ``(N, 1)`` for maps of shape ``(N, 1, H, W)``."""
        if self.kind == "max":
            return anomaly_map.amax(dim=(-2, -1))
        if self.kind == "mean":
            return anomaly_map.mean(dim=(-2, -1))
        count = float(self.kind)
        values = (_areas(anomaly_map) if is_count(count) else anomaly_map).flatten(2)
        count = count if is_count(count) else max(1, round(count * values.shape[-1]))
        return values.topk(min(int(count), values.shape[-1]), dim=-1).values.mean(dim=-1)


def is_count(score: ScoreType) -> bool:
    """Return whether a score is the mean of a number of areas."""
    return not isinstance(score, str) and 1 < score < float("inf") and score == int(score)


def _areas(anomaly_map: Tensor) -> Tensor:
    """Highest pixel of each area, of shape ``(N, 1, h, w)``; beyond the right and lower border pixels repeat."""
    height, width = anomaly_map.shape[-2:]
    whole = F.pad(anomaly_map, (0, -width % _AREA, 0, -height % _AREA), mode="replicate")
    return F.max_pool2d(whole, _AREA)
