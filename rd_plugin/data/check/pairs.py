# SPDX-License-Identifier: Apache-2.0
"""Images and masks that do not pair up, in folders laid out as MVTec AD's."""

from pathlib import Path

from rd_plugin.data.image_files import is_image

from .problem import Problem

__all__ = ["NORMAL", "check_pairs", "find_images", "find_masks"]

# Name of the folders with images that are good.
NORMAL = "good"


def find_images(folder: Path) -> list[Path]:
    """Return the images right in a folder, those that torchvision knows by their extension, by name; no hidden ones."""
    return sorted(path for path in folder.glob("*") if is_image(path) and not path.name.startswith("."))


def find_masks(folder: Path) -> dict[str, list[Path]]:
    """Return the masks right in a folder by the name of the image that they belong to, without its extension."""
    masks: dict[str, list[Path]] = {}
    for mask in find_images(folder):
        masks.setdefault(mask.stem.removesuffix("_mask"), []).append(mask)
    return masks


def check_pairs(root: Path) -> list[Problem]:
    """Compare ``root/test`` with ``root/ground_truth``: each image of a defect needs a mask, each mask an image.

    Without this anomalib's own stops with "Must have equal len keys and value when setting with an iterable".

    Returns:
        An error for each image without a mask or with several, and for each mask without an image; nothing if there are
        no such folders.
    """
    truth, test = root / "ground_truth", root / "test"
    if not truth.is_dir() or not test.is_dir():
        return []
    problems = []
    for folder in sorted(path for path in test.iterdir() if path.is_dir() and path.name != NORMAL):
        images, masks = find_images(folder), find_masks(truth / folder.name)
        expected = f"expected {truth / folder.name}"
        problems += [
            Problem(str(image), f"the image of a defect has no mask; {expected}/{image.stem}_mask.png.")
            for image in images
            if image.stem not in masks
        ]
        known = {image.stem for image in images}
        problems += [
            Problem(str(mask), f"the mask belongs to no image; expected one called {stem}.")
            for stem, found in masks.items()
            if stem not in known
            for mask in found
        ]
        problems += [
            Problem(str(mask), f"the image called {stem} has another mask, {found[0].name}; it can have one.")
            for stem, found in masks.items()
            for mask in found[1:]
        ]
    return problems
