# SPDX-License-Identifier: Apache-2.0
"""One model for all categories of a data set: their images together, and which category a test image is of."""

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import add
from typing import Any

import torch
from anomalib.data import AnomalibDataModule
from anomalib.data.utils import TestSplitMode, ValSplitMode
from torch import Tensor

from .suites import BuildData

__all__ = ["Joined"]


class Joined(AnomalibDataModule):
    """The images of several categories, without validation images.

    Args:
        builds: What builds the data module of each category, by its name.
        **arguments: Batch sizes, workers and augmentations, as a category's data module takes them.
    """

    def __init__(self, builds: Mapping[str, BuildData], **arguments: Any) -> None:
        super().__init__(test_split_mode=TestSplitMode.FROM_DIR, val_split_mode=ValSplitMode.NONE, **arguments)
        self.parts = {category: build(**arguments) for category, build in builds.items()}
        self._category_of: dict[str, str] = {}

    def prepare_data(self) -> None:
        """Download each category if it is not there."""
        for part in self.parts.values():
            part.prepare_data()

    def _setup(self, _stage: str | None = None) -> None:
        for category, part in self.parts.items():
            part.setup()
            self._category_of |= dict.fromkeys(part.test_data.samples["image_path"], category)
        self.train_data = reduce(add, (part.train_data for part in self.parts.values()))
        self.test_data = reduce(add, (part.test_data for part in self.parts.values()))

    def chosen(self, paths: Iterable[str]) -> dict[str, Tensor]:
        """Return which of some test images are of each category, as boolean masks by its name."""
        of = [self._category_of[str(path)] for path in paths]
        return {category: torch.tensor([name == category for name in of]) for category in self.parts}
