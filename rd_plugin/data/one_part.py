# SPDX-License-Identifier: Apache-2.0
"""The images of one of several parts."""

from collections.abc import Collection
from copy import copy

from anomalib.data import AnomalibDataModule
from lightning.pytorch.trainer.states import TrainerFn

from .part_names import part_of

__all__ = ["images_of_part"]


def images_of_part(datamodule: AnomalibDataModule, part: str, names: Collection[str]) -> AnomalibDataModule:
    """Return a data module with a part's training and validation images only.

    Args:
        datamodule: Images of several parts, or of this one; it stays as it is.
        part: Name of the part.
        names: Names of all parts. Images whose path names another one are left out.

    Raises:
        ValueError: If no training image is left.
    """
    # As the trainer does: later calls keep the images.
    datamodule.setup(TrainerFn.FITTING)
    chosen = copy(datamodule)
    for split in ("train_data", "val_data"):
        dataset = getattr(datamodule, split, None)
        if dataset is None:
            continue
        found = [part_of(path, names) in {part, None} for path in dataset.samples["image_path"]]
        setattr(chosen, split, dataset.subsample([index for index, kept in enumerate(found) if kept]))
    if not len(chosen.train_data):
        msg = f"data: there is no training image of part {part!r}; give its folder, or that of all parts."
        raise ValueError(msg)
    return chosen
