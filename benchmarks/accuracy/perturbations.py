# SPDX-License-Identifier: Apache-2.0
"""Changes to the images of a data set: turned, brightness normalized, few to train on, perturbed for the test."""

import math
import zlib
from collections.abc import Iterable
from functools import partial
from typing import Any, Literal

import torch
from anomalib.data import AnomalibDataModule
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F  # noqa: N812
from torchvision.tv_tensors import Image, Mask

from rd_plugin.models.fused_reverse_distillation.brightness import BrightnessNormalization

__all__ = ["CORNERS", "PERTURBATIONS", "BrightnessNormalized", "Corners", "Turned", "describe", "take"]

Corners = Literal["black", "reflect"]
CORNERS: tuple[Corners, ...] = ("black", "reflect")


class Turned(v2.Transform):
    """Turn each image, with its mask, by an angle of its own, which depends on its content alone.

    The image grows to a square as long as its diagonal, so that no defect is turned out of sight.

    Args:
        corners: What shows where the turned image does not reach: ``"black"``, or its mirror image.
    """

    def __init__(self, corners: Corners) -> None:
        super().__init__()
        self.corners = corners

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the angle by the image."""
        return {"angle": 360 * zlib.crc32(flat_inputs[0].contiguous().numpy().tobytes()) / 2**32}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Turn an image or a mask."""
        height, width = inpt.shape[-2:]
        side = math.ceil(math.hypot(height, width))
        # A mirror must reach the new corners, but shows no more than there is.
        reach = side if self.corners == "black" else min(math.ceil(math.sqrt(2) * side), 3 * min(height, width) - 2)
        margins = [math.ceil((reach - length) / 2) for length in (width, height)]
        padded = F.pad(inpt, margins, padding_mode="constant" if self.corners == "black" else "reflect")
        turned = F.rotate(padded, params["angle"], interpolation=v2.InterpolationMode.BILINEAR)
        return F.center_crop(turned, [side, side])


class Shifted(v2.Transform):
    """Move each image, with its mask, to the right and down; what comes in is its mirror image.

    Args:
        pixels: How far.
    """

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Move an image or a mask."""
        del params
        padded = F.pad(inpt, [2 * self.pixels, 2 * self.pixels, 0, 0], padding_mode="reflect")
        return F.center_crop(padded, list(inpt.shape[-2:]))


# Changes that a camera sees from one day to another, in the pixels of the files and in grey values of [0, 1].
PERTURBATIONS: dict[str, v2.Transform] = {
    "gain 0.85": v2.ColorJitter(brightness=(0.85, 0.85)),
    "gain 1.15": v2.ColorJitter(brightness=(1.15, 1.15)),
    "gamma 0.77": v2.Lambda(partial(F.adjust_gamma, gamma=0.77), Image),
    "gamma 1.3": v2.Lambda(partial(F.adjust_gamma, gamma=1.3), Image),
    "blur of 1 pixel": v2.GaussianBlur(kernel_size=9, sigma=1.0),
    "shift of 4 pixels": Shifted(4),
    "JPEG 60": v2.Compose(
        [v2.ToDtype(torch.uint8, scale=True), v2.JPEG(60), v2.ToDtype(torch.float32, scale=True)],
    ),
    "noise of 0.02": v2.GaussianNoise(sigma=0.02),
}


class BrightnessNormalized(v2.Transform):
    """Brightness normalization of :class:`rd_plugin.FusedReverseDistillation`, for any model's pre-processor.

    Args:
        strength: Share of the difference that is removed, from 0 to 1.
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.brightness = BrightnessNormalization()
        self.strength = strength

    def fit(self, images: Iterable[Tensor]) -> None:
        """Compute the usual brightness of normal images, normalized, of shape ``(3, H, W)``."""
        self.brightness.fit(torch.cat([self.brightness.levels(image.unsqueeze(0)) for image in images]))
        self.brightness.strength.fill_(self.strength)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Normalize the brightness of a batch of normalized images; masks stay as they are."""
        del params
        # A pre-processor does not take its steps along to the model's device.
        return inpt if isinstance(inpt, Mask) else self.brightness.to(inpt.device)(inpt)


def take(datamodule: AnomalibDataModule, count: int, draw: int) -> None:
    """Leave a data module that is set up only some training images.

    Args:
        datamodule: The data module.
        count: How many.
        draw: Which ones, as a seed.

    Raises:
        ValueError: If there are fewer.
    """
    images = datamodule.train_data
    if count > len(images):
        msg = f"--train-images {count}: there are {len(images)}."
        raise ValueError(msg)
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(draw))[:count]
    images.subsample(chosen.tolist(), inplace=True)


def describe(settings: dict[str, Any], perturbation: str = "") -> str:
    """Return the changes to the images of a cell in words."""
    done = [f"turned, {corners} corners"] if (corners := settings.get("turned")) else []
    done += [f"{count} to train on"] if (count := settings.get("train_images")) else []
    done += [f"printed number: {printed}"] if (printed := settings.get("printed")) else []
    return ", ".join([*done, *([perturbation] if perturbation else [])]) or "as they are"
