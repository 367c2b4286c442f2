# SPDX-License-Identifier: Apache-2.0
"""Pictures for the texture of synthetic anomalies."""

from collections.abc import Callable
from pathlib import Path

import torch
from anomalib.data.utils import read_image
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.v2 import functional as F  # noqa: N812

from rd_plugin.data.image_files import find_image_files

__all__ = ["Textures"]


class Textures:
    """Pictures of a folder and its subfolders, drawn at random.

    The papers use the Describable Textures Dataset (Cimpoi et al., CVPR 2014).

    Args:
        root: The folder.
        transform: The transform of images before the model, such as resizing and normalization.

    Raises:
        ValueError: If the folder does not exist or contains no image.
    """

    def __init__(self, root: str | Path, transform: Callable[[Tensor], Tensor] | None = None) -> None:
        self.files = find_image_files(root).files
        self.transform = transform
        if not self.files:
            msg = (
                f"anomaly_source {str(root)!r} contains no image; expected a folder of pictures "
                f"({', '.join(IMG_EXTENSIONS)}), at any depth, or null."
            )
            raise ValueError(msg)

    def __call__(self, images: Tensor) -> Tensor:
        """Return one picture for each image, with the images' shape ``(N, 3, H, W)``, type and device.

        Raises:
            ValueError: If a picture cannot be read; the message names the file.
        """
        chosen = torch.randint(len(self.files), (len(images),)).tolist()
        return torch.stack([self._read(self.files[index], images.shape[-2:]) for index in chosen]).to(images)

    def _read(self, file: Path, size: torch.Size) -> Tensor:
        """One picture of shape ``(3, *size)``."""
        try:
            picture = torch.as_tensor(read_image(file, as_tensor=True))
        except OSError as error:
            msg = f"anomaly_source: {file} cannot be read as an image ({error})."
            raise ValueError(msg) from error
        picture = picture if self.transform is None else self.transform(picture)
        return F.resize(picture, list(size), antialias=True)
