# SPDX-License-Identifier: Apache-2.0
"""Check the data before it is used."""

import logging
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from anomalib.data import AnomalibDataModule
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import CombinedLoader

from rd_plugin.storage import printable

from .datamodule import SPLITS, ImageDataset, check_datamodule, check_datasets, datasets, drop_samples
from .files import MAX_PIXELS, allow_pixels
from .pairs import check_pairs
from .problem import Problem

__all__ = ["DataCheck", "OnBadData", "act_on", "listing", "memory_file", "set_up"]

logger = logging.getLogger(__name__)

OnBadData = Literal["error", "skip", "warn", "off"]

# Before training, everything: an error in the test set is better known now than after a night.
# What a data module gives to predict is its test set.
_SPLITS: dict[str, Collection[str]] = {"fit": SPLITS, "validate": ("val",), "test": ("test",), "predict": ("test",)}
_MEMORY = "data_check.json"
_VERSION = re.compile(r"v\d+")
_LISTED = 20


def listing(problems: Collection[Problem]) -> str:
    """Return the problems as a table, and how many more there are than are shown."""
    found = ((printable(problem.subject), printable(problem.message)) for problem in problems)
    rows = [("file or set", "finding"), *found][: _LISTED + 1]
    width = max(len(subject) for subject, _ in rows)
    lines = [f"  {subject:<{width}} | {finding}" for subject, finding in rows]
    lines.insert(1, f"  {'-' * width}-+-{'-' * max(len(finding) for _, finding in rows)}")
    more = [f"  ... and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else []
    return "\n".join(lines + more)


class DataCheck(Callback):
    """Look at every image and mask once, before the first step that uses them.

    What the files hold is kept in ``data_check.json`` beside the run's folder and used again while they are unchanged.

    Args:
        on_bad_data: What to do about data that would spoil the result: ``"error"`` stops with a list, ``"skip"`` leaves
            the files out that it lists, ``"warn"`` only lists, ``"off"`` does not look.
        max_pixels: Greatest number of pixels in an image; one with more is bad. Pillow is told, too, so that anomalib
            reads as large ones.

    Attributes:
        findings: What was found in all stages; ``None`` if nothing was looked at.

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
        # Splits are looked at again in later stages.
        self.findings = list(dict.fromkeys([*(self.findings or ()), *problems]))
        act_on(problems, self.on_bad_data, used)


def _given(trainer: Trainer, stage: str) -> dict[str, ImageDataset]:
    """Data sets of the loaders that the trainer was given in place of a data module."""
    loops: dict[str, dict[str, Any]] = {
        "fit": {"train": trainer.fit_loop, "val": trainer.fit_loop.epoch_loop.val_loop},
        "validate": {"val": trainer.validate_loop},
        "test": {"test": trainer.test_loop},
        "predict": {"predict": trainer.predict_loop},
    }
    found: dict[str, ImageDataset] = {}
    for split, loop in loops[stage].items():
        # Lightning's public names have the loaders only when it is too late to leave a file out.
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
                logger.warning("Data check: the files of %s are not known, and are not looked at.", kind)
    return found


def memory_file(trainer: Trainer) -> Path:
    """Return the file beside the run's folder that keeps what the data's files hold."""
    folder = Path(trainer.default_root_dir)
    return (folder.parent if _VERSION.fullmatch(folder.name) else folder) / _MEMORY


def set_up(datamodule: AnomalibDataModule) -> None:
    """Set a data module up, and say which files are in the way if that fails.

    Raises:
        ValueError: If masks and images do not pair up; with their list.
    """
    try:
        datamodule.setup()
    except Exception as error:
        # anomalib's data modules of this layout join root and category; others have neither, or no such folders.
        root = Path(getattr(datamodule, "root", None) or ".") / (getattr(datamodule, "category", None) or "")
        problems = check_pairs(root)
        if not problems:
            raise
        msg = f"Data check: {len(problems)} problems in the data.\n{listing(problems)}"
        raise ValueError(msg) from error


def act_on(problems: Collection[Problem], on_bad_data: OnBadData, checked: Mapping[str, ImageDataset]) -> None:
    """List problems, and stop or leave files out because of them.

    Args:
        problems: What was found.
        on_bad_data: See :class:`DataCheck`.
        checked: The data sets that they were found in, by name.

    Raises:
        ValueError: If there are errors and ``on_bad_data`` says so, or what is wrong is not a file to be left out, or
            nothing is left.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    notes = [problem for problem in problems if problem.severity == "note"]
    if notes:
        logger.warning("Data check: %d notes.\n%s", len(notes), listing(notes))
    if not errors:
        return
    msg = f"Data check: {len(errors)} problems in the data.\n{listing(errors)}"
    if on_bad_data == "skip":
        dropped = drop_samples(checked.values(), {problem.subject for problem in errors})
        errors = [problem for problem in errors if problem.subject in checked]
        emptied = [name for name, dataset in checked.items() if len(dataset) == 0] if dropped else []
        errors += [Problem(name, "no image is left.") for name in emptied]
        logger.warning("%s\n%d images are left out.", msg, dropped)
        msg = f"Data check: {len(errors)} problems in the data.\n{listing(errors)}"
    if on_bad_data == "error" or (on_bad_data == "skip" and errors):
        raise ValueError(msg)
    if on_bad_data == "warn":
        logger.warning(msg)
