# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin inspect --engine ray``."""

import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import Namespace

from rd_plugin.inspection import Inspector, Source, find_images, is_video, recorded_parts
from rd_plugin.inspection.ray_engine import inspect_on_ray, ray_cluster
from rd_plugin.results import ResultFile, done_paths, in_order, prepare_folder, remove_strays, results_of, text_of

__all__ = ["run"]

logger = logging.getLogger(__name__)

# Parts of an exit status, as in `inspect`.
_ERROR, _ANOMALOUS, _DRIFTED = 1, 4, 8

# They act on each result as it comes, which here is on another machine.
_REFUSED = ("watch", "pictures", "mqtt", "webhook", "product_from")


def run(arguments: Namespace, model: Path, settings: Mapping[str, Any]) -> int:
    """Inspect images on the machines of a Ray cluster; what concerns all images is computed from the Parquet files.

    Args:
        arguments: What was parsed.
        model: The model's file.
        settings: Arguments of :class:`~rd_plugin.inspection.Inspector`.

    Returns:
        Exit status, as of ``inspect``.

    Raises:
        ImportError: If a package is missing.
        OSError: If a file cannot be read or written.
        RuntimeError: If the results do not hold each image once.
        ValueError: If an argument cannot be used.
    """
    _check(arguments, model)
    # The model is tried here, before machines are requested.
    inspector = Inspector(model, **settings)
    if inspector.drift is None and arguments.fail_on_drift:
        msg = "fail_on_drift: the model's record has no sample of its training images; leave the option out."
        raise ValueError(msg)
    place = arguments.parquet
    kept = prepare_folder(place, arguments.resume, arguments.overwrite)
    done = done_paths(place, {inspector.inferencer.record_id}, kept) if arguments.resume else set[str]()
    with ExitStack() as stack:
        files = []
        for kind in ("csv", "jsonl"):
            if arguments[kind] is not None:
                # It is made of all rows at the end, those of an earlier run too.
                files.append(ResultFile(arguments[kind], kind, overwritten=arguments.resume or arguments.overwrite))
                stack.callback(files[-1].close)
        with ray_cluster():
            left = _left(enumerate(find_images(arguments.paths, sys.stdin)), done)
            name = inspect_on_ray(model, settings, left, place, arguments.actors, arguments.progress)
        remove_strays(place, kept, name)
        return _sum_up(arguments, inspector, files, len(done))


def _check(arguments: Namespace, model: Path) -> None:
    """Check that Ray supports the options.

    Raises:
        ValueError: If it cannot.
    """
    if arguments.parquet is None:
        msg = "engine ray needs parquet: a folder or an address that all machines of the cluster reach."
        raise ValueError(msg)
    if given := [name for name in _REFUSED if arguments[name]]:
        msg = f"engine ray does not take {given[0]}; leave it out, or inspect with --engine local."
        raise ValueError(msg)
    if videos := [path for path in arguments.paths if is_video(path)]:
        msg = f"engine ray inspects image files, got {videos[0]!r}; inspect videos and streams with --engine local."
        raise ValueError(msg)
    if arguments.part is None and (parts := recorded_parts(model)):
        msg = f"engine ray needs part, one of {', '.join(parts)}: the model is for several."
        raise ValueError(msg)


def _left(sources: Iterable[tuple[int, Source]], done: set[str]) -> Iterator[tuple[int, Source]]:
    """The images that are not yet done, each once; their paths are added to those that are."""
    for position, source in sources:
        path = text_of(source.path)
        if path not in done:
            done.add(path)
            yield position, source


def _sum_up(arguments: Namespace, inspector: Inspector, files: list[ResultFile], expected: int) -> int:
    """Make what concerns all images from the rows of all parts, in the order in which one machine inspects them.

    Raises:
        RuntimeError: If the rows are not those of the images.
    """
    verdicts = Counter[str]()
    selection = None
    if arguments.report is not None:
        from rd_plugin.report import Selection

        selection = Selection()
    for table in in_order(arguments.parquet):
        verdicts.update(table["verdict"].to_pylist())
        if inspector.drift is not None:
            for statistics, score in zip(table["statistics"].to_pylist(), table["score"].to_pylist(), strict=True):
                if statistics is not None and score is not None:
                    inspector.drift.add(np.array(statistics), score)
        if files or selection is not None:
            for result in results_of(table):
                for file in files:
                    file.write(result)
                if selection is not None:
                    selection.add(result)
    if verdicts.total() != expected:
        msg = f"parquet {arguments.parquet!r} holds {verdicts.total()} results of {expected} images: do not use them."
        raise RuntimeError(msg)
    drifted, summary = False, ""
    if inspector.drift is not None:
        inspector.drift.finish()
        drifted, summary = inspector.drift.alarmed, inspector.drift.summary()
        logger.info("%s", summary)
    if selection is not None:
        from rd_plugin.report import report_results

        report_results(selection, arguments.report, record=dict(inspector.inferencer.record) or None, drift=summary)
        logger.info("Report: %s", arguments.report)
    counts = ", ".join(f"{count} {verdict or 'without verdict'}" for verdict, count in sorted(verdicts.items()))
    sys.stdout.write(f"{arguments.parquet}: {expected} images ({counts}).\n")
    status = _ERROR if verdicts["error"] else 0
    status |= _ANOMALOUS if verdicts["anomalous"] and arguments.fail_on_anomalous else 0
    return status | (_DRIFTED if drifted and arguments.fail_on_drift else 0)
