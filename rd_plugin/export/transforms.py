# SPDX-License-Identifier: Apache-2.0
"""torchvision's resize and centre crop in a form that every runtime computes equally, at any image size.

ONNX has a resize with antialiasing, but OpenVINO ignores the antialiasing, and torchvision's crop cannot be traced for
sizes that are known only when the graph runs. So a traced graph holds a resize as one matrix for each axis, computed in
the graph from the size of the image, and a crop as a selection of rows and columns. Outside of a trace torchvision does
both.
"""

from collections.abc import Callable
from typing import Any

import torch
from anomalib.data.transforms import ExportableCenterCrop as AnomalibCenterCrop
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torchvision.transforms.v2 import CenterCrop, Compose, Resize, Transform

__all__ = ["ExportableCenterCrop", "ExportableResize", "exportable"]


def _triangle(distances: Tensor) -> Tensor:
    return torch.relu(1 - distances)


def _keys(distances: Tensor) -> Tensor:
    # Keys, "Cubic convolution interpolation for digital image processing" (1981), equation 15: a = -1/2.
    near = (1.5 * distances - 2.5) * distances.square() + 1
    far = ((2.5 - 0.5 * distances) * distances - 4) * distances + 2
    return torch.where(distances < 1, near, torch.where(distances < 2, far, 0.0))


# By torchvision's names and Pillow's numbers; torchvision accepts both.
_KERNELS: dict[object, Callable[[Tensor], Tensor]] = {
    "bilinear": _triangle,
    2: _triangle,
    "bicubic": _keys,
    3: _keys,
}


def _kernel(resize: Resize) -> Callable[[Tensor], Tensor] | None:
    """The kernel of a resize with antialiasing; ``None`` if it has no antialiasing or another kernel."""
    interpolation = resize.interpolation
    return _KERNELS.get(getattr(interpolation, "value", interpolation)) if resize.antialias else None


def _weights(source: int, target: int, kernel: Callable[[Tensor], Tensor], device: torch.device) -> Tensor:
    """Matrix of shape ``(target, source)`` that resizes one axis with antialiasing.

    Pixel ``i`` of the result has its centre at ``(i + 1/2) source / target``. A kernel around it, as wide as a pixel of
    the source or of the result, whichever is larger, weights the pixels whose centres are ``j + 1/2``.
    """
    rows = 2 * torch.arange(target, device=device) + 1
    columns = 2 * torch.arange(source, device=device) + 1
    # In integers up to the division: in 16 bits, a runtime could not distinguish neighbouring positions.
    width: Any = 2 * torch.sym_max(source, target)
    weights = kernel((rows[:, None] * source - columns * target).abs() / width)
    return weights / weights.sum(dim=1, keepdim=True)


def _is(side: int, target: int) -> bool:
    """Whether a side is known while the graph is traced, and has this length."""
    return isinstance(side, int) and side == target


class ExportableResize(Resize):
    """A resize with antialiasing, bilinear or bicubic, that exports compute as torchvision does.

    Its arguments are those of :class:`torchvision.transforms.v2.Resize`.
    """

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize images of shape ``(..., H, W)``; called by torchvision."""
        kernel = _kernel(self)
        if kernel is None or not torch.compiler.is_compiling():
            return super().transform(inpt, params)
        height, width = inpt.shape[-2:]
        to_height, to_width = self._target(height, width)
        # On the right: OpenVINO cannot fuse a constant matrix on the left with the normalization that follows.
        if not _is(width, to_width):
            inpt = F.linear(inpt, _weights(width, to_width, kernel, inpt.device))
        if not _is(height, to_height):
            inpt = F.linear(inpt.mT, _weights(height, to_height, kernel, inpt.device)).mT
        return inpt

    def _target(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the resized image.

        Raises:
            ValueError: If the size is limited by ``max_size``.
        """
        if self.max_size is not None:
            msg = f"Resize with max_size={self.max_size} cannot be exported: give size as height and width."
            raise ValueError(msg)
        if len(self.size) == 2:
            return self.size[0], self.size[1]
        shorter = torch.sym_min(height, width)
        return self.size[0] * height // shorter, self.size[0] * width // shorter


class ExportableCenterCrop(CenterCrop):
    """A centre crop that exports compute as torchvision does, of images of any size.

    Its arguments are those of :class:`torchvision.transforms.v2.CenterCrop`.
    """

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Crop images of shape ``(..., H, W)``, or pad smaller ones with zeros; called by torchvision."""
        if not torch.compiler.is_compiling():
            return super().transform(inpt, params)
        for axis, target in zip((-2, -1), self.size, strict=True):
            side = inpt.shape[axis]
            if not _is(side, target):
                inpt = self._crop(inpt, axis, side, target)
        return inpt

    @staticmethod
    def _crop(images: Tensor, axis: int, side: int, target: int) -> Tensor:
        more, less = torch.sym_max(side - target, 0), torch.sym_max(target - side, 0)
        # torchvision rounds half of a crop to the next even number, and half of a padding down.
        first = more // 2 + (more % 2) * (more // 2 % 2) - less // 2
        places = torch.arange(target, device=images.device) + first
        inside = (places >= 0) & (places < side)
        chosen = images.index_select(axis, torch.where(inside, places, 0))
        return torch.where(inside.reshape(-1, *[1] * (-1 - axis)), chosen, 0.0)


def exportable(transform: Transform | None) -> Transform | None:
    """Return an equivalent transform that is exact in exports, too.

    Args:
        transform: A transform of images, or a :class:`torchvision.transforms.v2.Compose` of such.

    Returns:
        The transform, in which resizes with antialiasing and centre crops are replaced at any depth; all others are the
        same objects.
    """
    if isinstance(transform, Compose):
        return Compose([exportable(part) for part in transform.transforms])
    if isinstance(transform, Resize) and _kernel(transform) is not None:
        return ExportableResize(transform.size, transform.interpolation, transform.max_size, transform.antialias)
    if isinstance(transform, (CenterCrop, AnomalibCenterCrop)):
        return ExportableCenterCrop(transform.size)
    return transform
