# SPDX-License-Identifier: Apache-2.0
"""The check of data sets, and of a whole data module."""

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from anomalib.data import AnomalibDataModule, AnomalibDataset, PredictDataset
from anomalib.data.utils import LabelName
from pandas import DataFrame, Series

from rd_plugin.storage import is_address

from .files import MAX_PIXELS
from .problem import Problem
from .rules import check_image, check_mask, check_overlap, check_split
from .survey import inspect_files
from .unread import check_unread

__all__ = [
    "SPLITS",
    "ImageDataset",
    "check_datamodule",
    "check_datasets",
    "datasets",
    "drop_samples",
    "fingerprint",
    "held_out_images",
]

SPLITS = ("train", "val", "test")

# Data sets that know their files before they are read.
ImageDataset = AnomalibDataset | PredictDataset


def datasets(datamodule: AnomalibDataModule, splits: Collection[str] = SPLITS) -> dict[str, ImageDataset]:
    """Return the splits of a data module that has been set up.

    Args:
        datamodule: The data module.
        splits: Those that are wanted, of ``"train"``, ``"val"`` and ``"test"``.

    Returns:
        Those of them that there are, by name.
    """
    found = {split: getattr(datamodule, f"{split}_data", None) for split in splits}
    return {split: dataset for split, dataset in found.items() if isinstance(dataset, AnomalibDataset)}


def _samples(dataset: ImageDataset) -> DataFrame:
    """The table of the samples that anomalib keeps; one is made of images that are only to be predicted."""
    if isinstance(dataset, AnomalibDataset):
        return dataset.samples
    images = list(map(str, dataset.image_filenames))
    return DataFrame({"image_path": images, "label_index": LabelName.UNKNOWN, "mask_path": ""})


def _masks(samples: DataFrame) -> Series:
    """Path of each sample's mask; empty where there is none, or none is needed."""
    anomalous = samples["label_index"] == LabelName.ABNORMAL
    return samples["mask_path"].where(anomalous & samples["mask_path"].notna(), "").astype(str)


def check_datamodule(
    datamodule: AnomalibDataModule,
    memory: Path | None = None,
    splits: Collection[str] = SPLITS,
    max_pixels: int = MAX_PIXELS,
) -> list[Problem]:
    """Check every image and mask of a data module, and how they are split.

    Args:
        datamodule: A data module that has been set up.
        splits: Those that are checked, of ``"train"``, ``"val"`` and ``"test"``.
        memory: File that keeps what the files hold, for the next time.
        max_pixels: Maximum number of pixels in an image.

    Returns:
        All problems, as of :func:`check_datasets`; then a note for each folder with files that are not read.
    """
    tables = {split: _samples(dataset) for split, dataset in datasets(datamodule).items()}
    read = {Path(path) for samples in tables.values() for path in (*samples["image_path"], *_masks(samples)) if path}
    tested = {Path(path) for path in tables["test"]["image_path"]} if "test" in tables else set()
    root = getattr(datamodule, "root", None)
    problems = check_datasets(datasets(datamodule, splits), memory, max_pixels)
    if root is not None and is_address(str(root)):
        return problems
    return problems + check_unread(read, tested, None if root is None else Path(root))


def check_datasets(
    checked: Mapping[str, ImageDataset], memory: Path | None = None, max_pixels: int = MAX_PIXELS
) -> list[Problem]:
    """Check every image and mask of data sets, and how they are split.

    Args:
        checked: The data sets by name; one called ``"train"`` must share no image with the others.
        memory: File that keeps what the files hold, for the next time.
        max_pixels: Maximum number of pixels in an image.

    Returns:
        All problems: of each split as a whole, then of its files in order; a file that is in two splits is named once.
    """
    tables = {split: _samples(dataset) for split, dataset in checked.items()}
    masks = {split: _masks(samples) for split, samples in tables.items()}
    files = [*(path for samples in tables.values() for path in samples["image_path"])]
    files += [path for paths in masks.values() for path in paths if path]
    facts = inspect_files(files, memory, max_pixels)
    problems: dict[Problem, None] = {}
    for split, samples in tables.items():
        found = check_split(split, samples, facts)
        for image, mask in zip(samples["image_path"], masks[split], strict=True):
            found += check_image(image, facts[image])
            if mask:
                found += check_mask(mask, facts[mask], facts[image])
        if split != "train" and "train" in tables:
            found += check_overlap(tables["train"], samples, facts)
        problems |= dict.fromkeys(found)
    return list(problems)


def drop_samples(checked: Iterable[ImageDataset], subjects: Collection[str]) -> int:
    """Leave out every sample whose image or mask is among ``subjects``.

    Returns:
        Number of samples left out.
    """
    dropped = 0
    for dataset in checked:
        samples = _samples(dataset)
        bad = samples["image_path"].isin(subjects) | samples["mask_path"].isin(subjects)
        dropped += int(bad.sum())
        if not bad.any():
            continue
        if isinstance(dataset, AnomalibDataset):
            dataset.samples = samples[~bad].reset_index(drop=True)
        else:
            dataset.image_filenames = [Path(image) for image in samples["image_path"][~bad]]
    return dropped


def fingerprint(datamodule: AnomalibDataModule, memory: Path | None = None) -> str:
    """Hash the names and contents of the training images, to find whether two runs used the same.

    A name is the path within the data module's root, if it has one, so that a copy elsewhere has the same fingerprint.

    Args:
        datamodule: A data module that has been set up.
        memory: File that keeps what the files hold; those that it lists are not read again.

    Returns:
        SHA-256 in hexadecimal.
    """
    root = getattr(datamodule, "root", None)
    facts = inspect_files(datamodule.train_data.samples["image_path"], memory)
    names = {file: os.path.relpath(file, root) if root else Path(file).name for file in facts}
    lines = sorted(f"{names[file]} {facts[file].digest}\n" for file in facts)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def held_out_images(datamodule: AnomalibDataModule, memory: Path | None = None) -> list[str]:
    """Hash the contents of the good images that are held out of the training, so that no later update learns from them.

    Args:
        datamodule: A data module that has been set up.
        memory: As for :func:`fingerprint`.

    Returns:
        The hash of each file, sorted.
    """
    tables = [_samples(dataset) for dataset in datasets(datamodule, SPLITS[1:]).values()]
    files = [path for table in tables for path in table["image_path"][table["label_index"] == LabelName.NORMAL]]
    return sorted({facts.digest for facts in inspect_files(files, memory).values()})
