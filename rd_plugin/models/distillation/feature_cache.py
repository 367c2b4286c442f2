# SPDX-License-Identifier: Apache-2.0
"""Features of a frozen network, computed once for each training image."""

import functools
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

__all__ = ["FeatureCache", "FeatureCacheType"]

logger = logging.getLogger(__name__)

FeatureCacheType = Literal["off", "memory", "disk", "auto"]

# Half precision keeps 11 bits of each feature, which changes the loss in its fifth digit, if all are in range.
_FULL, _HALF = torch.float32, torch.float16
_HIGHEST = torch.finfo(_HALF).max
# Maximum number of bytes, and largest share of the free space, that "auto" may use on a disk.
_DISK_BYTES, _DISK_SHARE = 10 * 10**9, 0.5


@functools.lru_cache(maxsize=2)
def _weights(count: int, device: torch.device) -> Tensor:
    """Odd integers of shape ``(count,)``: a product with one differs for every other factor."""
    generator = torch.Generator().manual_seed(0)
    return (2 * torch.randint(-(2**30), 2**30, (count,), generator=generator) + 1).int().to(device)


def _fingerprints(images: Tensor) -> Tensor:
    """A hash of each image of shape ``(N, C, H, W)``; two images collide with a probability of about 2 ** -32."""
    bits = images.detach().float().flatten(1).view(torch.int32)
    # Integers wrap around, so the sum is the same on every device and in every order.
    return (bits * _weights(bits.shape[1], bits.device)).sum(dim=1)


class FeatureCache:
    """A frozen network that computes the features of each image once.

    Features are found by the image's name, and used only if the image is identical, bit for bit, to the one that they
    were computed from. Another transform, an augmentation or a changed file is detected, and switches the cache off.
    The cache is not a module, so it adds neither the network nor the features to a checkpoint.

    Args:
        network: The frozen network, in evaluation mode: from images of shape ``(N, 3, H, W)`` to a list of features of
            shapes ``(N, C_l, H_l, W_l)``.
        kind: ``"off"``; ``"memory"``, on the images' device, in half precision if the budget is too small for full
            precision; ``"disk"``, a temporary file in half precision that disappears with the process, however it ends;
            ``"auto"``, memory if the budget allows it, otherwise disk if that takes at most 10 GB and half of the free
            space and the images are on a CPU: a GPU computes features faster than a disk delivers them.
        budget: Maximum number of bytes in memory.
        images: Number of training images; 0 if it is unknown, and nothing is kept.

    Raises:
        ValueError: If ``kind`` is none of these or ``budget`` is negative.

    Example:
        >>> cache = FeatureCache(lambda images: [images[:, :, ::4, ::4]], "memory", 10**6, images=2)
        >>> first = cache(torch.ones(2, 3, 8, 8), ["a.png", "b.png"])
        >>> [feature.shape for feature in cache(torch.ones(1, 3, 8, 8), ["b.png"])]
        [torch.Size([1, 3, 2, 2])]
    """

    def __init__(
        self,
        network: Callable[[Tensor], list[Tensor]],
        kind: FeatureCacheType,
        budget: int,
        images: int,
    ) -> None:
        if kind not in {"off", "memory", "disk", "auto"}:
            msg = f"feature_cache must be 'off', 'memory', 'disk' or 'auto', got {kind!r}."
            raise ValueError(msg)
        if budget < 0:
            msg = f"feature_cache_bytes must be 0 or more, got {budget}."
            raise ValueError(msg)
        self.network = network
        self.kind: FeatureCacheType = kind if images else "off"
        self.budget = budget
        self.images = images
        self._rows: dict[str, int] = {}
        self._kept: list[Tensor] = []
        self._dtype = _HALF
        self._fingerprints = torch.empty(0, dtype=torch.int64)

    @property
    def is_off(self) -> bool:
        """Whether nothing is kept."""
        return self.kind == "off"

    def __call__(self, images: Tensor, names: Sequence[str] | None) -> list[Tensor]:
        """Return the network's features, computed or kept.

        Args:
            images: Images of shape ``(N, 3, H, W)``.
            names: A name for each image, such as its file. Without a name for each, nothing is kept.

        Returns:
            Features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.
        """
        if self.is_off or names is None or len(names) != len(images):
            return self.network(images)
        found = _fingerprints(images)
        known = [self._rows[name] for name in names if name in self._rows]
        if len(known) == len(names):
            rows = torch.tensor(known, device=self._fingerprints.device)
            if self._fingerprints[rows].equal(found.to(rows.device)):
                return [self._take(kept, rows, images) for kept in self._kept]
            self._switch_off("training images change from epoch to epoch, as with augmentations")
        features = self.network(images)
        if not self.is_off:
            self._keep(features, found, names)
        # Rounded as when they are read back, so that a resumed run, which computes them again, continues equally.
        return features if self.is_off else [feature.to(self._dtype).to(feature.dtype) for feature in features]

    def has_kept(self, names: Sequence[str]) -> bool:
        """Return whether the features of all these images are kept."""
        return not self.is_off and bool(names) and all(name in self._rows for name in names)

    def kept(self, names: Sequence[str], device: torch.device) -> list[Tensor]:
        """Return the kept features of images, without reading the images.

        Args:
            names: The images' names.
            device: Where the features are needed.

        Returns:
            Features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.

        Raises:
            KeyError: If the features of an image are not kept.
        """
        rows = torch.tensor([self._rows[name] for name in names])
        return [self._take(kept, rows, torch.empty(0, device=device)) for kept in self._kept]

    @staticmethod
    def _take(kept: Tensor, rows: Tensor, images: Tensor) -> Tensor:
        """Features of some rows, in the type and on the device of the images, channels last in memory."""
        return kept[rows.to(kept.device)].to(images.device, images.dtype).permute(0, 3, 1, 2)

    def _keep(self, features: list[Tensor], fingerprints: Tensor, names: Sequence[str]) -> None:
        """Keep a batch's features."""
        if not self._kept:
            self._open(features)
        if self.is_off:
            return
        if self._dtype == _HALF and any(bool(feature.abs().amax() > _HIGHEST) for feature in features):
            self._switch_off("features are out of the range of half precision")
            return
        for index, name in enumerate(names):
            if name not in self._rows and len(self._rows) < self.images:
                row = self._rows[name] = len(self._rows)
                self._fingerprints[row] = fingerprints[index]
                for kept, feature in zip(self._kept, features, strict=True):
                    kept[row] = feature[index].permute(1, 2, 0)

    def _open(self, features: list[Tensor]) -> None:
        """Allocate memory for all images' features, or switch off."""
        shapes = [(self.images, *feature.shape[2:], feature.shape[1]) for feature in features]
        numbers = sum(int(np.prod(shape, dtype=int)) for shape in shapes)
        self._dtype = _FULL if self.kind != "disk" and numbers * _FULL.itemsize <= self.budget else _HALF
        needed = numbers * self._dtype.itemsize
        device = features[0].device
        fits = needed <= self.budget
        in_memory = self.kind == "memory" or (self.kind == "auto" and fits)
        # A GPU computes features faster than they are read from a file.
        may_be_on_disk = self.kind == "disk" or (self.kind == "auto" and device.type == "cpu")
        if not fits and not may_be_on_disk:
            self._switch_off(f"the features take {needed} bytes, more than feature_cache_bytes ({self.budget})")
            return
        if not in_memory:
            folder = tempfile.gettempdir()
            free = shutil.disk_usage(folder).free
            allowed = free if self.kind == "disk" else min(_DISK_BYTES, int(free * _DISK_SHARE))
            if needed > allowed:
                self._switch_off(
                    f"the features take {needed} bytes, but {folder} has {free} free, of which feature_cache "
                    f"{self.kind!r} uses at most {allowed}"
                )
                return
        self._fingerprints = torch.zeros(self.images, dtype=torch.int64)
        self._kept = [torch.empty(s, dtype=self._dtype, device=device) if in_memory else _on_disk(s) for s in shapes]
        place = "memory" if in_memory else "a temporary file"
        most = f" of at most {_DISK_BYTES / 1e9:.0f} GB" if self.kind == "auto" and not in_memory else ""
        precision = "full" if self._dtype == _FULL else "half"
        logger.info(
            "The features of %d training images are kept in %s, in %s precision: %.2g GB%s.",
            self.images,
            place,
            precision,
            needed / 1e9,
            most,
        )

    def _switch_off(self, reason: str) -> None:
        """Keep nothing from now on, and log the reason."""
        logger.warning("The feature cache is off, and features are computed in every step: %s.", reason)
        self.kind = "off"
        self._rows, self._kept = {}, []


def _on_disk(shape: Sequence[int]) -> Tensor:
    """Half-precision tensor in an unnamed temporary file, which disappears with the process."""
    with tempfile.TemporaryFile() as file:
        size = int(np.prod(shape, dtype=int)) * _HALF.itemsize
        if hasattr(os, "posix_fallocate"):
            # Without this, a full disk would kill the process when the file is written to.
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
        return torch.from_numpy(np.memmap(file, dtype=np.float16, mode="r+", shape=tuple(shape)))
