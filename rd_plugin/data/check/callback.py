# SPDX-License-Identifier: Apache-2.0
"""Check the data before it is used."""

import logging
import re
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from anomalib.data import AnomalibDataModule
from lightning.pytorch import Callback, LightningModule, Trainer

from .datamodule import SPLITS, check_datamodule, drop_samples
from .pairs import check_pairs
from .problem import Problem

__all__ = ["DataCheck", "OnBadData", "act_on", "listing", "memory_file", "set_up"]

logger = logging.getLogger(__name__)

OnBadData = Literal["error", "skip", "warn", "off"]

# Before training, everything: an error in the test set is better known now than after a night.
_SPLITS: dict[str, Collection[str]] = {"fit": SPLITS, "validate": ("val",), "test": ("test",)}
_MEMORY = "data_check.json"
_VERSION = re.compile(r"v\d+")
_LISTED = 20


def listing(problems: Collection[Problem]) -> str:
    """Return the problems as a table, and how many more there are than are shown."""
    rows = [("file or set", "finding"), *((problem.subject, problem.message) for problem in problems)][: _LISTED + 1]
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

    Raises:
        ValueError: If ``on_bad_data`` is none of these.
    """

    def __init__(self, on_bad_data: OnBadData = "error") -> None:
        if on_bad_data not in {"error", "skip", "warn", "off"}:
            msg = f"on_bad_data must be 'error', 'skip', 'warn' or 'off', got {on_bad_data!r}."
            raise ValueError(msg)
        self.on_bad_data: OnBadData = on_bad_data

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the splits that ``stage`` uses; before training, all of them.

        Raises:
            ValueError: If there are errors and ``on_bad_data`` says so.
        """
        del pl_module
        datamodule = getattr(trainer, "datamodule", None)
        if self.on_bad_data == "off" or stage not in _SPLITS or not isinstance(datamodule, AnomalibDataModule):
            return
        act_on(check_datamodule(datamodule, memory_file(trainer), _SPLITS[stage]), self.on_bad_data, datamodule)


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


def act_on(problems: Collection[Problem], on_bad_data: OnBadData, datamodule: AnomalibDataModule) -> None:
    """List problems, and stop or leave files out because of them.

    Args:
        problems: What was found.
        on_bad_data: See :class:`DataCheck`.
        datamodule: The data module that they were found in.

    Raises:
        ValueError: If there are errors and ``on_bad_data`` says so, or what is wrong is not a file to be left out.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    notes = [problem for problem in problems if problem.severity == "note"]
    if notes:
        logger.warning("Data check: %d notes.\n%s", len(notes), listing(notes))
    if not errors:
        return
    msg = f"Data check: {len(errors)} problems in the data.\n{listing(errors)}"
    if on_bad_data == "skip":
        dropped = drop_samples(datamodule, {problem.subject for problem in errors})
        errors = [problem for problem in errors if problem.subject in SPLITS]
        logger.warning("%s\n%d images are left out.", msg, dropped)
    if on_bad_data == "error" or (on_bad_data == "skip" and errors):
        raise ValueError(msg)
    if on_bad_data == "warn":
        logger.warning(msg)
