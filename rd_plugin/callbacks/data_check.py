# SPDX-License-Identifier: Apache-2.0
"""Check the data before it is used."""

import logging
from collections.abc import Collection
from typing import Any

from anomalib.data import AnomalibDataModule
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import CombinedLoader

from rd_plugin.data.check import (
    MAX_PIXELS,
    SPLITS,
    OnBadData,
    Problem,
    act_on,
    allow_pixels,
    check_datamodule,
    check_datasets,
    datasets,
    memory_file,
)
from rd_plugin.data.check.datamodule import ImageDataset

__all__ = ["DataCheck"]

logger = logging.getLogger(__name__)

# Before training, everything is checked: an error in the test set should be found now, not after hours of training.
# A data module uses its test set for predict.
_SPLITS: dict[str, Collection[str]] = {"fit": SPLITS, "validate": ("val",), "test": ("test",), "predict": ("test",)}


class DataCheck(Callback):
    """Check every image and mask once, before the first step that uses them.

    The results are kept in ``data_check.json`` next to the run's folder and used again while the files are unchanged.

    Args:
        on_bad_data: What to do about data that would spoil the result: ``"error"`` stops with a list, ``"skip"`` leaves
            out the files that it lists, ``"warn"`` only lists, ``"off"`` does not check.
        max_pixels: Maximum number of pixels in an image; a larger image is an error. The same limit is set in Pillow,
            so that anomalib can read such images.

    Attributes:
        findings: What was found in all stages; ``None`` if nothing was checked.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, on_bad_data: OnBadData = "error", max_pixels: int = MAX_PIXELS) -> None:
        if on_bad_data not in {"error", "skip", "warn", "off"}:
            msg = f"on_bad_data must be 'error', 'skip', 'warn' or 'off', got {on_bad_data!r}."
            raise ValueError(msg)
        allow_pixels(max_pixels)
        self.on_bad_data: OnBadData = on_bad_data
        self.max_pixels = max_pixels
        self.findings: list[Problem] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the splits that ``stage`` uses; before training, all of them.

        Raises:
            ValueError: If there are errors and ``on_bad_data`` says so.
        """
        del pl_module
        if self.on_bad_data == "off" or stage not in _SPLITS:
            return
        datamodule = getattr(trainer, "datamodule", None)
        if isinstance(datamodule, AnomalibDataModule):
            used = datasets(datamodule, _SPLITS[stage])
            problems = check_datamodule(datamodule, memory_file(trainer), _SPLITS[stage], self.max_pixels)
        else:
            used = _given(trainer, stage)
            problems = check_datasets(used, memory_file(trainer), self.max_pixels)
        # Splits are checked again in later stages.
        self.findings = list(dict.fromkeys([*(self.findings or ()), *problems]))
        act_on(problems, self.on_bad_data, used)


def _given(trainer: Trainer, stage: str) -> dict[str, ImageDataset]:
    """Data sets of the loaders that the trainer was given instead of a data module."""
    loops: dict[str, dict[str, Any]] = {
        "fit": {"train": trainer.fit_loop, "val": trainer.fit_loop.epoch_loop.val_loop},
        "validate": {"val": trainer.validate_loop},
        "test": {"test": trainer.test_loop},
        "predict": {"predict": trainer.predict_loop},
    }
    found: dict[str, ImageDataset] = {}
    for split, loop in loops[stage].items():
        # Lightning's public attributes hold the loaders only when it is too late to leave a file out.
        given = loop._data_source.instance  # noqa: SLF001
        if given is None or isinstance(given, LightningModule):
            continue
        loaders = given if isinstance(given, CombinedLoader) else CombinedLoader(given, "sequential")
        for index, loader in enumerate(loaders.flattened):
            dataset = getattr(loader, "dataset", None)
            if isinstance(dataset, ImageDataset):
                found[f"{split} {index}" if index else split] = dataset
            else:
                kind = type(loader if dataset is None else dataset).__name__
                logger.warning("Data check: the files of %s are unknown and are not checked.", kind)
    return found
