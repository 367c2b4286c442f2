# SPDX-License-Identifier: Apache-2.0
"""What is done about problems in the data: a list, a stop, or files left out."""

import logging
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from anomalib.data import AnomalibDataModule
from lightning.pytorch import Trainer

from rd_plugin.storage import printable

from .datamodule import ImageDataset, drop_samples
from .pairs import check_pairs
from .problem import Problem

__all__ = ["OnBadData", "act_on", "counted", "listing", "memory_file", "set_up"]

logger = logging.getLogger(__name__)

OnBadData = Literal["error", "skip", "warn", "off"]

_MEMORY = "data_check.json"
_VERSION = re.compile(r"v\d+")
_LISTED = 20


def counted(problems: Collection[Problem], name: str) -> str:
    """Return how many there are, in words: "1 note", "2 notes"."""
    return f"{len(problems)} {name}{'' if len(problems) == 1 else 's'}"


def listing(problems: Collection[Problem]) -> str:
    """Return the problems as a table, and how many more there are than are shown."""
    found = ((printable(problem.subject), printable(problem.message)) for problem in problems)
    rows = [("file or set", "finding"), *found][: _LISTED + 1]
    width = max(len(subject) for subject, _ in rows)
    lines = [f"  {subject:<{width}} | {finding}" for subject, finding in rows]
    lines.insert(1, f"  {'-' * width}-+-{'-' * max(len(finding) for _, finding in rows)}")
    more = [f"  ... and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else []
    return "\n".join(lines + more)


def memory_file(trainer: Trainer) -> Path:
    """Return the file next to the run's folder that keeps the results of the data check."""
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
        msg = f"Data check: {counted(problems, 'problem')} in the data.\n{listing(problems)}"
        raise ValueError(msg) from error


def act_on(problems: Collection[Problem], on_bad_data: OnBadData, checked: Mapping[str, ImageDataset]) -> None:
    """List problems, and stop or leave files out because of them.

    Args:
        problems: What was found.
        on_bad_data: See :class:`~rd_plugin.callbacks.DataCheck`.
        checked: The data sets that they were found in, by name.

    Raises:
        ValueError: If there are errors and ``on_bad_data`` says so, or what is wrong is not a file to be left out, or
            nothing is left.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    notes = [problem for problem in problems if problem.severity == "note"]
    if notes:
        logger.warning("Data check: %s.\n%s", counted(notes, "note"), listing(notes))
    if not errors:
        return
    msg = f"Data check: {counted(errors, 'problem')} in the data.\n{listing(errors)}"
    if on_bad_data == "skip":
        dropped = drop_samples(checked.values(), {problem.subject for problem in errors})
        errors = [problem for problem in errors if problem.subject in checked]
        emptied = [name for name, dataset in checked.items() if len(dataset) == 0] if dropped else []
        errors += [Problem(name, "no image is left.") for name in emptied]
        logger.warning("%s\n%d images are left out.", msg, dropped)
        msg = f"Data check: {counted(errors, 'problem')} in the data.\n{listing(errors)}"
    if on_bad_data == "error" or (on_bad_data == "skip" and errors):
        raise ValueError(msg)
    if on_bad_data == "warn":
        logger.warning(msg)
