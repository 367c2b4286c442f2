# SPDX-License-Identifier: Apache-2.0
"""Which images a model accepts, and how predictions for invalid ones are masked."""

from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from anomalib.data import InferenceBatch

    from .alignment import AlignedBatch

__all__ = ["FINITE_RANGE", "RAW_RANGE", "check_images", "check_range", "in_range", "mask_invalid"]

# Range of images as anomalib reads them.
RAW_RANGE = (0.0, 1.0)
# Range of normalized images: finite in every type that a runtime may compute in.
FINITE_RANGE = (torch.finfo(torch.float16).min, torch.finfo(torch.float16).max)

_CHANNELS = 3
# A resize may round beyond the range; less than half a step of an 8-bit image does not change the image.
_ROUNDING = 0.5 / 255

_Predictions = TypeVar("_Predictions", bound="InferenceBatch | AlignedBatch")


def check_images(images: Tensor, dtype: torch.dtype) -> None:
    """Check type and shape, except while a graph is traced.

    Args:
        images: Images of shape ``(N, 3, H, W)``.
        dtype: Type of the model's weights; under autocast any floating-point type is accepted.

    Raises:
        TypeError: If ``images`` is not a tensor, or has another type.
        ValueError: If it has another shape.
    """
    if torch.compiler.is_compiling():
        return
    if not isinstance(images, Tensor):
        msg = f"images must be a torch.Tensor of shape (N, 3, H, W), got {type(images).__name__}."
        raise TypeError(msg)
    if images.ndim != 4 or images.shape[1] != _CHANNELS or images.numel() == 0:
        msg = (
            f"images must have shape (N, 3, H, W), each at least 1, got {tuple(images.shape)}: a single image needs a "
            "batch dimension, a grey image three equal channels."
        )
        raise ValueError(msg)
    if not images.is_floating_point():
        msg = f"images must be {dtype}, got {images.dtype}: convert them, and divide values of 0 to 255 by 255."
        raise TypeError(msg)
    if images.dtype != dtype and not torch.is_autocast_enabled(images.device.type):
        msg = f"images must be {dtype}, as the model's weights are, got {images.dtype}: convert them by .to({dtype})."
        raise TypeError(msg)


def check_range(images: Tensor, bounds: tuple[float, float]) -> None:
    """Check the values, except while a graph is traced; NaN is accepted.

    Args:
        images: Images of any shape.
        bounds: Lowest and highest value allowed.

    Raises:
        ValueError: If a value is outside.
    """
    if torch.compiler.is_compiling():
        return
    low, high = (extreme.item() for extreme in images.nan_to_num(0.0, torch.inf, -torch.inf).aminmax())
    if low < bounds[0] - _ROUNDING or high > bounds[1] + _ROUNDING:
        msg = f"images must have values in [{bounds[0]:g}, {bounds[1]:g}], got {low:g} to {high:g}."
        raise ValueError(msg)


def in_range(images: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Return for each image whether all its values are numbers within ``bounds``.

    It uses comparisons only, since runtimes may lose NaN in any other operation.

    Args:
        images: Images of shape ``(N, 3, H, W)``.
        bounds: Lowest and highest value allowed.

    Returns:
        Booleans of shape ``(N, 1)``, as scores have.

    Example:
        >>> in_range(torch.tensor([0.5, 2.0, torch.nan]).reshape(3, 1, 1, 1).expand(3, 3, 8, 8), RAW_RANGE).flatten()
        tensor([ True, False, False])
    """
    inside = (images >= bounds[0] - _ROUNDING) & (images <= bounds[1] + _ROUNDING)
    return inside.flatten(1).all(dim=1, keepdim=True)


def mask_invalid(predictions: _Predictions, valid: Tensor) -> _Predictions:
    """Replace the predictions for invalid images with NaN and "anomalous".

    Args:
        predictions: Predictions for ``N`` images, each field of shape ``(N, 1)``, ``(N, 1, H, W)`` or ``None``.
        valid: Booleans of shape ``(N, 1)``: which images are valid.

    Returns:
        The predictions; for invalid images scores and maps are NaN, and labels and masks are true (anomalous).
    """
    fields, invalid = {}, ~valid
    for name, value in predictions._asdict().items():
        if value is not None:
            where = invalid if value.ndim == invalid.ndim else invalid[..., None, None]
            # ONNX Runtime does not support torch.where for booleans.
            fields[name] = value | where if value.dtype == torch.bool else torch.where(where, torch.nan, value)
    return cast("_Predictions", predictions._replace(**fields))
