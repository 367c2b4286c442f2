# SPDX-License-Identifier: Apache-2.0
"""A number printed into a corner of each image, another one in each: what it costs, and what ``roi`` gains."""

import zlib
from typing import Any, Literal

import cv2
import numpy as np
import torch
from anomalib.data import AnomalibDataModule
from PIL import Image as PILImage
from torchvision.transforms import v2
from torchvision.tv_tensors import Image, Mask

__all__ = ["PRINTED", "Printed", "PrintedNumber", "drop_hidden", "region_beside"]

Printed = Literal["none", "printed", "left out"]
#: No number; a number; a number, and a region of interest that leaves it out.
PRINTED: tuple[Printed, ...] = ("none", "printed", "left out")

# The number's box in the upper right corner: shares of height and width.
_HEIGHT, _WIDTH = 0.11, 0.345
_DIGITS = 6


def _box(height: int, width: int) -> tuple[int, int]:
    """Height and width of the number's box."""
    return max(1, round(_HEIGHT * height)), max(1, round(_WIDTH * width))


class PrintedNumber(v2.Transform):
    """Print a white number into the upper right corner of each image, which depends on its content alone."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the number by the image."""
        drawn = zlib.crc32(flat_inputs[0].contiguous().numpy().tobytes()) % 10**_DIGITS
        return {"number": f"{drawn:0{_DIGITS}}"}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Print into an image of values in [0, 1]; masks stay as they are."""
        if isinstance(inpt, Mask):
            return inpt
        height, width = inpt.shape[-2:]
        rows, columns = _box(height, width)
        ink = np.zeros((height, width), np.uint8)
        place = (width - columns + columns // 9, rows - rows // 4)
        scale, thickness = rows / 47, max(1, round(rows / 14))
        cv2.putText(ink, params["number"], place, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thickness, cv2.LINE_AA)
        return Image(torch.maximum(inpt, torch.from_numpy(ink).to(inpt) / 255))


def region_beside(datamodule: AnomalibDataModule) -> dict[str, Any]:
    """Return the region of interest that leaves the number out, as the argument ``roi`` takes it."""
    with PILImage.open(datamodule.train_data.samples["image_path"].iloc[0]) as image:
        width, height = image.size
    rows, columns = _box(height, width)
    left = width - columns
    corners = [[0, 0], [left, 0], [left, rows], [width, rows], [width, height], [0, height]]
    return {"width": width, "height": height, "polygons": [corners]}


def drop_hidden(datamodule: AnomalibDataModule) -> None:
    """Leave out the test images whose defect lies wholly below the number: there is nothing to find."""
    dataset = datamodule.test_data
    seen = []
    for index, file in enumerate(dataset.samples["mask_path"]):
        mask = np.asarray(PILImage.open(file).convert("L")).copy() > 0 if file else np.zeros((1, 1), bool)
        defective = mask.any()
        rows, columns = _box(*mask.shape)
        mask[:rows, -columns:] = False
        if mask.any() or not defective:
            seen.append(index)
    dataset.subsample(seen, inplace=True)
