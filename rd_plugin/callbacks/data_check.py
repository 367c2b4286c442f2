# SPDX-License-Identifier: Apache-2.0
"""Check the data before it is used."""

import logging
from typing import Literal

from anomalib.data import AnomalibDataset
from lightning.pytorch import Callback, LightningModule, Trainer

from rd_plugin.data.check import check_dataset

__all__ = ["DataCheck", "OnBadData"]

logger = logging.getLogger(__name__)

OnBadData = Literal["error", "warn", "off"]

_SPLITS = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}
_LISTED = 20


class DataCheck(Callback):
    """Look at every image and mask once, before the first step that uses them.

    Args:
        on_bad_data: What to do about data that would spoil the result: ``"error"`` stops with a list, ``"warn"`` only
            lists, ``"off"`` does not look.

    Raises:
        ValueError: If ``on_bad_data`` is none of these.
    """

    def __init__(self, on_bad_data: OnBadData = "error") -> None:
        if on_bad_data not in {"error", "warn", "off"}:
            msg = f"on_bad_data must be 'error', 'warn' or 'off', got {on_bad_data!r}."
            raise ValueError(msg)
        self.on_bad_data = on_bad_data
        self._known: set[str] = set()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the splits that ``stage`` uses.

        Raises:
            ValueError: If there are errors and ``on_bad_data`` says so.
        """
        del pl_module
        datamodule = getattr(trainer, "datamodule", None)
        if self.on_bad_data == "off" or datamodule is None:
            return
        problems = []
        for split in _SPLITS.get(stage, ()):
            dataset = getattr(datamodule, f"{split}_data", None)
            if isinstance(dataset, AnomalibDataset):
                problems += check_dataset(dataset, split, self._known)
                self._known.update(dataset.samples["image_path"])
        errors = [str(problem) for problem in problems if problem.severity == "error"]
        notes = [str(problem) for problem in problems if problem.severity == "note"]
        if notes:
            logger.warning("Data check: %d notes.\n%s", len(notes), _listing(notes))
        if errors:
            msg = f"Data check: {len(errors)} problems in the data.\n{_listing(errors)}"
            if self.on_bad_data == "error":
                raise ValueError(msg)
            logger.warning(msg)


def _listing(lines: list[str]) -> str:
    """The first lines, and how many more there are."""
    more = [f"... and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return "\n".join(f"  {line}" for line in lines[:_LISTED] + more)
