# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin train --each``: a model for each folder of parts, one after the other."""

import logging
import os
import sys
import time
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rd_plugin.callbacks import ReportWriter, RunSummary
from rd_plugin.components.kept_weights import weights_kept
from rd_plugin.products import Store, checked_name
from rd_plugin.provenance import RecordedModule
from rd_plugin.report import Outcome, overview_table, read_outcomes, write_outcomes, write_overview
from rd_plugin.storage import check_folder

from .argv import option_names, option_value
from .command_line import CommandLine
from .error_messages import WrongInput

__all__ = ["EACH", "RESUME", "train_each"]

logger = logging.getLogger(__name__)

EACH, RESUME = "--each", "--resume"
_ROOT, _NAME, _RESULTS, _GOOD = "--data.root", "--data.name", "--default_root_dir", "--data.normal_dir"
_OUTCOMES, _PAGE, _STORE = "products.json", "index.html", "products"
_FAILED = 1


def train_each(words: Sequence[str]) -> int:
    """Train a model for each folder in ``--data.root`` that has good images, whatever becomes of the others.

    All is below ``RESULTS/ROOT``, named after ``--default_root_dir`` and ``--data.root``: the runs as those of single
    trainings, the models in a store by the names of their folders, what came of them, and a page that links the
    reports. Each is brought up to date after each training. A teacher's weights are read once.

    Args:
        words: Those of ``rd-plugin train``, with ``--each``; with ``--resume``, folders that have been trained by the
            same command are left out.

    Returns:
        Exit status: 0, or 1 if a training failed.

    Raises:
        WrongInput: If the arguments are wrong for all folders.
    """
    resume, command = RESUME in words, [word for word in words if word not in {EACH, RESUME}]
    try:
        root, products = _products(command)
        results = Path(option_value(_RESULTS, command) or "results") / root.resolve().name
        check_folder(results, 0, "default_root_dir")
        known = _known(results / _OUTCOMES, command) if resume else {}
    except (OSError, ValueError) as error:
        raise WrongInput(str(error)) from error
    results.mkdir(parents=True, exist_ok=True)
    outcomes = dict(known)
    with weights_kept():
        for index, product in enumerate(products, start=1):
            if product in known:
                continue
            logger.info("Product %d of %d: %s", index, len(products), product)
            try:
                outcomes[product] = _outcome(command, root / product, results)
            except (KeyboardInterrupt, SystemExit):
                logger.warning("Stopped at %r; %s goes on with it.", product, RESUME)
                raise
            if outcomes[product].reason:
                logger.error("%s: %s", product, outcomes[product].reason)
            _write(results, root, command, [outcomes[name] for name in products if name in outcomes])
    done = [outcomes[product] for product in products]
    sys.stdout.write(f"\n{overview_table(done)}\n\n  reports   {results / _PAGE}\n")
    if Store(results / _STORE).names():
        sys.stdout.write(f"  products  {results / _STORE}\n")
    return _FAILED if any(outcome.reason for outcome in done) else 0


def _products(command: Sequence[str]) -> tuple[Path, list[str]]:
    """The folder of all parts, and the names of those in it that have good images.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If an option does not go with ``--each``.
    """
    given = option_value(_ROOT, command)
    if given is None:
        msg = f"each needs {_ROOT} FOLDER, with a folder for each product in it."
        raise ValueError(msg)
    if wrong := option_names(command) & {_NAME, "--ckpt_path"}:
        msg = f"{min(wrong).removeprefix('--')} is for one training; leave it out with {EACH}."
        raise ValueError(msg)
    root, good = Path(given), option_value(_GOOD, command) or "good"
    folders = sorted(path for path in root.glob("*/") if path.is_dir() and not path.name.startswith("."))
    found = [folder.name for folder in folders if (folder / good).is_dir()]
    if not found:
        msg = f"data.root {given!r} has no folder with {good!r} in it, such as {str(root / 'screw' / good)!r}."
        raise FileNotFoundError(msg)
    if others := [folder.name for folder in folders if folder.name not in found]:
        logger.warning("Left out, without %r: %s", good, ", ".join(others))
    return root, found


def _known(file: Path, command: Sequence[str]) -> dict[str, Outcome]:
    """The products that the same command has trained.

    Raises:
        OSError: If what is known cannot be read.
        ValueError: If it is of another command.
    """
    if not file.is_file():
        return {}
    before, outcomes = read_outcomes(file)
    if before != list(command):
        msg = f"resume goes on with the command of {str(file)!r}: rd-plugin {' '.join(before)} {EACH}."
        raise ValueError(msg)
    return {outcome.product: outcome for outcome in outcomes if not outcome.reason}


def _outcome(command: Sequence[str], folder: Path, results: Path) -> Outcome:
    """Train on a folder, add the model to the store, and return what came of it.

    Raises:
        ArgumentError: If the command is wrong for all folders.
    """
    start = time.monotonic()
    own = {_ROOT: folder, _NAME: folder.name, _RESULTS: results}
    try:
        name = checked_name(folder.name)
        line = CommandLine([*command, *(word for option, value in own.items() for word in (option, str(value)))])
        return _trained(line, name, results, time.monotonic() - start)
    except WrongInput as error:
        if isinstance(error.__cause__, ArgumentError):
            raise
        reason = str(error)
    except Exception as error:
        # Whatever is wrong with one product, the others are trained.
        logger.debug("%s", folder.name, exc_info=True)
        reason = f"{type(error).__name__}: {error}"
    return Outcome(folder.name, " ".join(reason.split()), time.monotonic() - start)


def _trained(line: CommandLine, name: str, results: Path, seconds: float) -> Outcome:
    """What came of a training that has ended, whose model is added to the store."""
    engine: Any = line.engine
    callbacks = engine.trainer.callbacks
    points = [point for callback in callbacks if isinstance(callback, RunSummary) for point in callback.points]
    own = next((point for point in points if point.rate is None), None)
    reports = [callback.written for callback in callbacks if isinstance(callback, ReportWriter)]
    checkpoint = engine.best_model_path
    if isinstance(line.model, RecordedModule) and checkpoint:
        Store(results / _STORE).add(name, checkpoint, replace=True)
    return Outcome(
        name,
        seconds=round(seconds, 1),
        training=len(line.datamodule.train_data),
        tested=len(line.datamodule.test_data),
        metrics={key: float(value) for key, value in engine.trainer.callback_metrics.items() if "loss" not in key},
        false_alarms=None if own is None else own.false_alarms,
        defects_found=None if own is None else own.defects_found,
        report=next((_relative(path, results) for path in reports if path), ""),
        checkpoint=_relative(checkpoint, results) if checkpoint else "",
    )


def _relative(path: str | Path, results: Path) -> str:
    """A path as seen from the page, with the number of its run in place of a link to the newest."""
    return Path(os.path.relpath(Path(path).resolve(), results.resolve())).as_posix()


def _write(results: Path, root: Path, command: Sequence[str], outcomes: Sequence[Outcome]) -> None:
    """Write what is known by now, and the page."""
    write_outcomes(results / _OUTCOMES, command, outcomes)
    write_overview(results / _PAGE, f"Models of {root.resolve().name}", outcomes)
