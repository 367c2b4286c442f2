# SPDX-License-Identifier: Apache-2.0
"""Electroluminescence images of solar cells, from the package ``elpv-dataset``."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from anomalib.data import AnomalibDataModule, AnomalibDataset
from anomalib.data.utils import LabelName, Split, TestSplitMode, ValSplitMode
from torchvision.transforms.v2 import Transform

__all__ = ["SolarCells", "SolarCellsDataset"]

CellType = Literal["mono", "poly"]

_TRAIN_SHARE = 0.8
# Normal images that a false-alarm rate of 1 % requires: 99 and the next image make 100.
_HELD_OUT = 99
# Half of the monocrystalline training cells, which are fewer.
_MOST_HELD_OUT = 235


def _read_labels(cell_type: CellType) -> pd.DataFrame:
    """Image paths and defect probabilities of one type of cell."""
    spec = find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        msg = "The data module SolarCells needs the package 'elpv-dataset': pip install 'rd-plugin[demo]'."
        raise ModuleNotFoundError(msg, name="elpv_dataset")
    folder = Path(spec.origin).parent / "data"
    labels = pd.read_csv(folder / "labels.csv", sep=r"\s+", names=["image", "probability", "type"])
    labels = labels[labels["type"] == cell_type]
    return labels.assign(image_path=[str(folder / image) for image in labels["image"]])


def _make_samples(cell_type: CellType, seed: int, held_out: int) -> pd.DataFrame:
    """Assign every cell to a split."""
    labels = _read_labels(cell_type)
    # The doubtful cells are not used if there are held-out cells for validation.
    labels["split"] = "" if held_out else Split.VAL.value
    labels.loc[labels["probability"].isin([0, 1]), "split"] = Split.TEST.value
    functional = labels[labels["probability"] == 0]
    train = functional.sample(frac=_TRAIN_SHARE, random_state=seed).index
    labels.loc[train, "split"] = Split.TRAIN.value
    # The cells are in random order.
    labels.loc[train[:held_out], "split"] = Split.VAL.value
    labels["label_index"] = (labels["probability"] > 0.5).map({False: LabelName.NORMAL, True: LabelName.ABNORMAL})
    labels["label_index"] = labels["label_index"].astype(int)
    labels["mask_path"] = ""
    labels.attrs["task"] = "classification"
    return labels[["image_path", "split", "label_index", "mask_path"]]


class SolarCellsDataset(AnomalibDataset):
    """One split of the solar cells.

    Args:
        cell_type: ``"mono"`` or ``"poly"`` crystalline.
        split: Training, validation or test.
        seed: Seed of the split.
        held_out: Number of normal cells in the validation set; with 0 it holds the doubtful cells.
        augmentations: Augmentations of the images.
    """

    def __init__(
        self,
        cell_type: CellType,
        split: Split,
        seed: int = 0,
        held_out: int = _HELD_OUT,
        augmentations: Transform | None = None,
    ) -> None:
        super().__init__(augmentations=augmentations)
        samples = _make_samples(cell_type, seed, held_out)
        self.samples = samples[samples["split"] == split.value]
        self.category = cell_type


class SolarCells(AnomalibDataModule):
    """Solar cells as an anomaly detection task: real images from a package, 300 x 300 pixels, without masks.

    Experts gave each cell a probability of being defective: 0, 1/3, 2/3 or 1. Of the cells with probability 0, 80 % are
    for training; the others and all with probability 1 are the test set. Some training cells are held out as the
    validation set, which sets the threshold for a false-alarm rate; a rate of 1 % needs at least 99. The doubtful cells
    are not used. With ``held_out=0``, they are the validation set, 1/3 as normal and 2/3 as anomalous.

    Source: Buerhop-Lutz et al., "A benchmark for visual identification of defective solar cells in electroluminescence
    imagery", EU PVSEC 2018; licence CC BY-NC-SA 4.0.

    Args:
        cell_type: ``"mono"`` or ``"poly"`` crystalline.
        train_batch_size: Images in a training batch.
        eval_batch_size: Images in an evaluation batch.
        num_workers: Processes that read images.
        seed: Seed of the split.
        held_out: Number of normal training cells that are held out for validation; 0 for none.
        **augmentations: Augmentations of :class:`anomalib.data.AnomalibDataModule`.

    Raises:
        ValueError: If ``cell_type`` is neither, or ``held_out`` is negative or leaves less than half to train on.
        ModuleNotFoundError: During setup, if ``elpv-dataset`` is not installed.
    """

    def __init__(
        self,
        cell_type: CellType = "mono",
        train_batch_size: int = 16,
        eval_batch_size: int = 32,
        num_workers: int = 2,
        seed: int = 0,
        held_out: int = _HELD_OUT,
        **augmentations: Any,
    ) -> None:
        if not 0 <= held_out <= _MOST_HELD_OUT:
            msg = f"held_out must be between 0 and {_MOST_HELD_OUT}, got {held_out}."
            raise ValueError(msg)
        if cell_type not in {"mono", "poly"}:
            msg = f"cell_type must be 'mono' or 'poly', got {cell_type!r}."
            raise ValueError(msg)
        super().__init__(
            train_batch_size=train_batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            # All three splits are made here, none by anomalib.
            test_split_mode=TestSplitMode.FROM_DIR,
            test_split_ratio=None,
            val_split_mode=ValSplitMode.FROM_DIR,
            val_split_ratio=None,
            seed=seed,
            **augmentations,
        )
        self.category = self.cell_type = cell_type
        self.split_seed = seed
        self.held_out = held_out

    def _setup(self, _stage: str | None = None) -> None:
        for split in (Split.TRAIN, Split.VAL, Split.TEST):
            data = SolarCellsDataset(self.cell_type, split, self.split_seed, self.held_out)
            setattr(self, f"{split.value}_data", data)
