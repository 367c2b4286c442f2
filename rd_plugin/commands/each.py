# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin train --each``: a model for each folder of parts, one after the other or in parallel."""

import logging
import os
import sys
import time
from argparse import ArgumentError
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rd_plugin.callbacks import ReportWriter, RunSummary
from rd_plugin.components.kept_weights import weights_kept
from rd_plugin.data.folder_tree import folder_tree
from rd_plugin.products import Store, checked_name
from rd_plugin.provenance import RecordedModule
from rd_plugin.report import Outcome, overview_table, read_outcomes, write_outcomes, write_overview
from rd_plugin.storage import check_folder

from .argv import option_names, option_value, without
from .command_line import CommandLine
from .each_on_ray import outcomes_on_ray
from .error_messages import WrongInput

__all__ = ["EACH", "ENGINE", "RESUME", "THREADS", "train_each"]

logger = logging.getLogger(__name__)

EACH, RESUME, ENGINE, THREADS = "--each", "--resume", "--engine", "--threads"
_ROOT, _NAME, _RESULTS, _GOOD = "--data.root", "--data.name", "--default_root_dir", "--data.normal_dir"
_OUTCOMES, _PAGE, _STORE = "products.json", "index.html", "products"
_FAILED = 1


def train_each(words: Sequence[str]) -> int:
    """Train a model for each folder in ``--data.root`` that has good images, even if others fail.

    All is below ``RESULTS/ROOT``, named after ``--default_root_dir`` and ``--data.root``: the runs as those of single
    trainings, the models in a store by the names of their folders, the outcomes, and a page that links the reports.
    All are updated after each training.

    Args:
        words: Those of ``rd-plugin train``, with ``--each``; with ``--resume``, folders that have been trained by the
            same command are skipped; with ``--engine ray``, trainings run in parallel on a Ray cluster, each on
            ``--threads`` cores.

    Returns:
        Exit status: 0, or 1 if a training failed.

    Raises:
        WrongInput: If the arguments are wrong for all folders.
    """
    resume = RESUME in words
    command = without([word for word in words if word not in {EACH, RESUME}], ENGINE, THREADS)
    try:
        on_ray, threads = _engine(words)
        root, products = _products(command)
        results = Path(option_value(_RESULTS, command) or "results") / _name(root)
        check_folder(results, 0, "default_root_dir")
        known = _known(results / _OUTCOMES, command) if resume else {}
    except (OSError, ValueError) as error:
        raise WrongInput(str(error)) from error
    results.mkdir(parents=True, exist_ok=True)
    outcomes = dict(known)
    left = [product for product in products if product not in known]
    train = partial(_outcome, command, root, results)
    accelerator = option_value("--trainer.accelerator", command)
    ended = outcomes_on_ray(train, left, threads, accelerator) if on_ray else _one_after_the_other(train, left)
    try:
        for product, outcome in ended:
            outcomes[product] = outcome
            if outcome.reason:
                logger.error("%s: %s", product, outcome.reason)
            _write(results, root, command, [outcomes[name] for name in products if name in outcomes])
    except (KeyboardInterrupt, SystemExit):
        logger.warning("Stopped; %s continues with the products that have no new model yet.", RESUME)
        raise
    except (ImportError, OSError, ValueError) as error:
        raise WrongInput(str(error)) from error
    done = [outcomes[product] for product in products]
    sys.stdout.write(f"\n{overview_table(done)}\n\n  reports   {results / _PAGE}\n")
    if Store(results / _STORE).names():
        sys.stdout.write(f"  products  {results / _STORE}\n")
    return _FAILED if any(outcome.reason for outcome in done) else 0


def _engine(words: Sequence[str]) -> tuple[bool, int]:
    """Whether trainings run on Ray, and on how many cores each.

    Raises:
        ValueError: If an option is wrong.
    """
    engine, threads = option_value(ENGINE, words), option_value(THREADS, words)
    if ENGINE in option_names(words) and engine not in {"local", "ray"}:
        msg = f"engine must be local or ray, got {engine!r}."
        raise ValueError(msg)
    if THREADS in option_names(words) and engine != "ray":
        msg = f"threads is for {ENGINE} ray, got engine {engine or 'local'!r}."
        raise ValueError(msg)
    if threads is not None and not (threads.isdecimal() and int(threads)):
        msg = f"threads must be a number of cores, at least 1, got {threads!r}."
        raise ValueError(msg)
    return engine == "ray", 1 if threads is None else int(threads)


def _one_after_the_other(train: Callable[[str], Outcome], products: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
    """Yield products and their outcomes; the teacher's weights are read once."""
    with weights_kept():
        for index, product in enumerate(products, start=1):
            logger.info("Product %d of %d: %s", index, len(products), product)
            yield product, train(product)


def _name(root: str) -> str:
    """The name of a folder, also if it is ``"."``, or at an address."""
    return Path(root).resolve().name


def _products(command: Sequence[str]) -> tuple[str, list[str]]:
    """The folder of all parts or its address, and the names of those in it that have good images.

    Raises:
        OSError: If there is no such folder.
        ValueError: If an option does not go with ``--each``.
    """
    given = option_value(_ROOT, command)
    if given is None:
        msg = f"each needs {_ROOT} FOLDER, with a folder for each product in it."
        raise ValueError(msg)
    if wrong := option_names(command) & {_NAME, "--ckpt_path"}:
        msg = f"{min(wrong).removeprefix('--')} is for one training; omit it with {EACH}."
        raise ValueError(msg)
    tree, good = folder_tree(given), option_value(_GOOD, command) or "good"
    folders = tree.folders(tree.root) if tree.is_folder(tree.root) else []
    found = [folder.name for folder in folders if tree.is_folder(folder / good)]
    if not found:
        such = f"{given.rstrip('/')}/screw/{good}"
        msg = f"data.root {given!r} has no folder with {good!r} in it, such as {such!r}."
        raise FileNotFoundError(msg)
    if others := [folder.name for folder in folders if folder.name not in found]:
        logger.warning("Skipped, without %r: %s", good, ", ".join(others))
    return given.rstrip("/") or given, found


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
        msg = f"resume continues the command of {str(file)!r}: rd-plugin {' '.join(before)} {EACH}."
        raise ValueError(msg)
    return {outcome.product: outcome for outcome in outcomes if not outcome.reason}


def _outcome(command: Sequence[str], root: str, results: Path, product: str) -> Outcome:
    """Train on a product's folder, add the model to the store, and return the outcome.

    Raises:
        ArgumentError: If the command is wrong for all folders.
    """
    start = time.monotonic()
    own = {_ROOT: f"{root}/{product}", _NAME: product, _RESULTS: results}
    try:
        name = checked_name(product)
        line = CommandLine([*command, *(word for option, value in own.items() for word in (option, str(value)))])
        return _trained(line, name, results, time.monotonic() - start)
    except WrongInput as error:
        if isinstance(error.__cause__, ArgumentError):
            raise
        reason = str(error)
    except Exception as error:
        # Whatever is wrong with one product, the others are trained.
        logger.debug("%s", product, exc_info=True)
        reason = f"{type(error).__name__}: {error}"
    return Outcome(product, " ".join(reason.split()), time.monotonic() - start)


def _trained(line: CommandLine, name: str, results: Path, seconds: float) -> Outcome:
    """The outcome of a training that has ended, whose model is added to the store."""
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
    """A path as seen from the page, with the number of its run instead of a link to the newest."""
    return Path(os.path.relpath(Path(path).resolve(), results.resolve())).as_posix()


def _write(results: Path, root: str, command: Sequence[str], outcomes: Sequence[Outcome]) -> None:
    """Write what is known by now, and the page."""
    write_outcomes(results / _OUTCOMES, command, outcomes)
    write_overview(results / _PAGE, f"Models of {_name(root)}", outcomes)
