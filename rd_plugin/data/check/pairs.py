# SPDX-License-Identifier: Apache-2.0
"""Images and masks that do not pair up, in folders laid out as MVTec AD's."""

from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from .problem import Problem

__all__ = ["check_pairs"]

_NORMAL = "good"


def _images(folder: Path) -> list[Path]:
    """The images right in a folder, by name."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in IMG_EXTENSIONS)


def check_pairs(root: Path) -> list[Problem]:
    """Compare ``root/test`` with ``root/ground_truth``: each image of a defect needs a mask, each mask an image.

    Without this anomalib stops with "Must have equal len keys and value when setting with an iterable".

    Args:
        root: Folder of a category.

    Returns:
        An error for each image without a mask and for each mask without an image; nothing if there are no such folders.
    """
    truth, test = root / "ground_truth", root / "test"
    if not truth.is_dir() or not test.is_dir():
        return []
    problems = []
    for folder in sorted(path for path in test.iterdir() if path.is_dir() and path.name != _NORMAL):
        images, masks = _images(folder), _images(truth / folder.name)
        stems = {mask.stem.removesuffix("_mask") for mask in masks}
        expected = f"expected {truth / folder.name}"
        problems += [
            Problem(str(image), f"the image of a defect has no mask; {expected}/{image.stem}_mask.png.")
            for image in images
            if image.stem not in stems
        ]
        known = {image.stem for image in images}
        problems += [
            Problem(str(mask), f"the mask belongs to no image; expected one called {mask.stem.removesuffix('_mask')}.")
            for mask in masks
            if mask.stem.removesuffix("_mask") not in known
        ]
    return problems
