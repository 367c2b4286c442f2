# SPDX-License-Identifier: Apache-2.0
"""Looking at every image and mask of a data set once, before anything is learned from them."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from anomalib.data import AnomalibDataset
from anomalib.data.utils import LabelName
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

__all__ = ["Problem", "check_dataset", "check_image", "check_mask"]

# Modes that anomalib's reader, which converts to 8-bit RGB, clips instead of scaling.
_CLIPPED_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, or worth knowing, about a file or a set.

    Args:
        subject: The file, or the name of the set.
        message: What was found and what is needed instead.
        severity: ``"error"`` would spoil the result, ``"note"`` does not.
    """

    subject: str
    message: str
    severity: Literal["error", "note"] = "error"

    def __str__(self) -> str:
        return f"{self.subject}: {self.message}"


def _open(path: Path) -> Image.Image | Problem:
    """Decode a file completely."""
    try:
        if path.stat().st_size == 0:
            return Problem(str(path), "the file is empty.")
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError:
        return Problem(str(path), "the file does not exist.")
    except UnidentifiedImageError:
        return Problem(str(path), "the file is not an image that can be read.")
    except (OSError, SyntaxError, ValueError) as error:
        return Problem(str(path), f"the image is damaged ({error}).")


def check_image(path: str | Path) -> list[Problem]:
    """Check that an image can be read with all its information.

    Args:
        path: The image file.

    Returns:
        An error for a file that is missing, empty, damaged or deeper than 8 bits a channel; a note for an image whose
        palette or alpha channel will be converted; nothing otherwise.
    """
    image = _open(Path(path))
    if isinstance(image, Problem):
        return [image]
    if image.mode in _CLIPPED_MODES:
        message = (
            f"the image has mode {image.mode}, more than 8 bits a channel, and would be clipped to white when read; "
            "convert it to 8 bits."
        )
        return [Problem(str(path), message)]
    if image.mode in {"P", "PA"}:
        return [Problem(str(path), "the image has a palette; its colours are used.", "note")]
    if image.mode in {"RGBA", "LA", "La", "RGBa"}:
        return [Problem(str(path), "the image has an alpha channel; it is ignored.", "note")]
    return []


def check_mask(mask_path: str | Path, image_path: str | Path) -> list[Problem]:
    """Check that a defect's mask can be read, marks something and has its image's size.

    Args:
        mask_path: The mask file.
        image_path: The image that it belongs to; if it cannot be read, sizes are not compared.

    Returns:
        The errors found.
    """
    mask = _open(Path(mask_path))
    if isinstance(mask, Problem):
        return [mask]
    problems = []
    if not np.asarray(mask).any():
        problems.append(Problem(str(mask_path), "the mask of an anomalous image marks no pixel."))
    image = _open(Path(image_path))
    if isinstance(image, Image.Image) and image.size != mask.size:
        sizes = f"{mask.width} x {mask.height} pixels, its image {image.width} x {image.height}"
        problems.append(Problem(str(mask_path), f"the mask has {sizes}; both must agree."))
    return problems


def _check_sample(image_path: str, mask_path: str | None) -> list[Problem]:
    problems = check_image(image_path)
    if mask_path:
        problems += check_mask(mask_path, image_path)
    return problems


def check_dataset(dataset: AnomalibDataset, name: str, known: Iterable[str] = ()) -> list[Problem]:
    """Check every image and mask of a data set, in parallel.

    Args:
        dataset: One split of an anomalib data module.
        name: Name of the split: ``"train"``, ``"val"`` or ``"test"``.
        known: Image paths that were checked before and are left out.

    Returns:
        All problems, those of the split first, then those of its files in order.
    """
    samples = dataset.samples
    problems = []
    if name == "train" and len(samples) == 0:
        problems.append(Problem(name, "there is no training image."))
    if name == "test" and not dataset.has_anomalous:
        message = "there is no defect, so AUROC, F1 and AUPRO are undefined."
        problems.append(Problem(name, message, "note"))
    seen = set(known)
    todo = samples[~samples["image_path"].isin(seen)]
    anomalous = todo["label_index"] == LabelName.ABNORMAL
    masks = todo["mask_path"].where(anomalous & todo["mask_path"].notna(), "")
    with ThreadPoolExecutor() as pool:
        results = pool.map(_check_sample, todo["image_path"], masks)
        # Shown on a terminal only, and gone when it is done.
        for found in tqdm(results, desc=f"Checking {name} images", total=len(todo), leave=False, disable=None):
            problems += found
    return problems
