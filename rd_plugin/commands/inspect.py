# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin inspect``: judge image files by a trained model."""

import logging
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, current_thread, main_thread
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from rd_plugin.data.check import MAX_PIXELS
from rd_plugin.inspection import (
    CSVFile,
    Earlier,
    Inspector,
    JSONLines,
    MultiFrame,
    PictureFolder,
    Precision,
    Progress,
    Sink,
    Source,
    Text,
    common_folder,
    earlier_rows,
    find_images,
    watch,
)
from rd_plugin.report import report_verdicts

__all__ = ["add_arguments", "run"]

logger = logging.getLogger(__name__)

# Parts of an exit status, which may come together; 2 and 3 are those of errors.
_NOT_JUDGED, _ANOMALOUS, _DRIFTED = 1, 4, 8
# Images that are watched for drift at a time.
_WINDOW = 50
_NOTHING_KNOWN = "the model's record has no sample of the images that it was trained on"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments.

    Args:
        parser: The subcommand's parser.
    """
    add: Any = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        type=Path,
        help="OpenVINO (.xml), ONNX (.onnx), torch export (.pt) or checkpoint (.ckpt)",
    )
    add(
        "paths",
        metavar="PATH",
        type=str,
        nargs="+",
        help="files, folders (searched at any depth), patterns ('parts/**/*.png'); - for a list on standard input",
    )
    add("--csv", metavar="FILE", type=Path, help="new file: a row an image, as CSV")
    add("--jsonl", metavar="FILE", type=Path, help="new file: the same as JSON, one object a line")
    add("--resume", action="store_true", help="go on with the files of an earlier run; no image is judged twice")
    add("--pictures", type=Literal["all", "anomalous"], help="draw these images, with map, regions, verdict and score")
    add("--pictures_folder", metavar="FOLDER", type=Path, default=Path("pictures"), help="where they are drawn")
    add(
        "--watch",
        action="store_true",
        help="judge what is in the folders, and then what appears in them, until stopped",
    )
    add("--report", metavar="FILE", type=Path, help="at the end, one HTML page: verdicts, pictures, model, drift")
    add("--fail_on_anomalous", action="store_true", help="add 4 to the status if an image is anomalous")
    add(
        "--fail_on_drift",
        action="store_true",
        help="add 8 to the status if images are not like those that the model was trained on",
    )
    add(
        "--multi_frame",
        type=MultiFrame,
        default="first",
        help="what to do about a file with several images",
    )
    add("--max_pixels", type=PositiveInt, default=MAX_PIXELS, help="greatest number in an image")
    add("--threads", type=PositiveInt | None, help="that the model computes with; all cores by default")
    add("--precision", type=Precision, default="float32", help="bfloat16: faster on some processors, less exact (.xml)")
    add("--workers", type=PositiveInt | None, help="threads that read images; as many as there are cores by default")
    add("--progress", type=bool | None, help="whether to show a bar; by default on a terminal")


def run(arguments: Namespace) -> int:
    """Judge images, and write each verdict as soon as it is known.

    Args:
        arguments: What was parsed.

    Returns:
        Exit status: 1 if there was an image that could not be judged, 4 more if there was an anomalous one and 8 more
        if images have drifted, where that was asked for; that of a signal if one broke it off.

    Raises:
        OSError: If the model is not there, or a file for the results is, or cannot be made.
        ValueError: If the model or an argument cannot be used.
    """
    if arguments.watch and (others := [path for path in arguments.paths if not Path(path).is_dir()]):
        msg = f"watch needs folders that are there; {others[0]!r} is none."
        raise ValueError(msg)
    inspector = Inspector(
        arguments.model,
        max_pixels=arguments.max_pixels,
        multi_frame=arguments.multi_frame,
        threads=arguments.threads,
        workers=arguments.workers,
        mode="latency" if arguments.watch else "throughput",
        window=_WINDOW if arguments.watch else None,
        precision=arguments.precision,
    )
    _check_drift(inspector, arguments.fail_on_drift)
    earlier = Earlier([])
    if arguments.resume:
        earlier = earlier_rows(arguments.csv, arguments.jsonl, inspector.judge_of_images.record_id)
        if inspector.drift is not None:
            inspector.drift.go_on(sum(row.score is not None for row in earlier.rows))
    pictures = _pictures(arguments)
    verdicts = {row.verdict for row in earlier.rows}
    with ExitStack() as stack, _stopped_by_signals() as (stop, signals):
        sources, total = _sources(arguments, earlier, stop)
        kept = _kept_rows(arguments, stack)
        sinks = list(_sinks(arguments, total, kept))
        for sink in sinks:
            stack.callback(sink.close)
        for row in inspector.rows(sources, each=[pictures.write] if pictures else [], stop=stop):
            for sink in sinks:
                sink.write(row)
            verdicts.add(row.verdict)
        drifted, told = _drift(inspector, earlier)
        if signals and not arguments.watch:
            return 128 + signals[0]
        if kept is not None:
            record = dict(inspector.judge_of_images.record) or None
            report_verdicts(kept, arguments.report, record=record, drift=told)
            logger.info("Report: %s", arguments.report)
    status = _NOT_JUDGED if "not judged" in verdicts else 0
    status |= _ANOMALOUS if "anomalous" in verdicts and arguments.fail_on_anomalous else 0
    return status | (_DRIFTED if drifted and arguments.fail_on_drift else 0)


def _check_drift(inspector: Inspector, asked: bool) -> None:
    """Say so if nothing is known that images could be compared with.

    Raises:
        ValueError: If the exit status is to tell.
    """
    if inspector.drift is not None:
        return
    if asked:
        msg = f"fail_on_drift: {_NOTHING_KNOWN}; train it anew, or leave that out."
        raise ValueError(msg)
    logger.info("Drift: not looked for, %s.", _NOTHING_KNOWN)


def _drift(inspector: Inspector, earlier: Earlier) -> tuple[bool, str]:
    """Whether the run has drifted at any time, and what to say of it."""
    if inspector.drift is None:
        return False, f"Not looked for, {_NOTHING_KNOWN}."
    inspector.drift.finish()
    told = inspector.drift.summary()
    logger.info("%s", told)
    if any(row.drift == "yes" for row in earlier.rows):
        return True, f"{told} It had been found among the images that were judged before."
    return inspector.drift.alarmed, told


def _kept_rows(arguments: Namespace, stack: ExitStack) -> Path | None:
    """The file of rows that a report is made of: one that was asked for, or one for the time being.

    Raises:
        OSError: If the report cannot be written where it is to be.
    """
    if arguments.report is None:
        return None
    if arguments.report.is_dir() or not arguments.report.absolute().parent.is_dir():
        msg = f"report {str(arguments.report)!r} must be a file, in a folder that is there."
        raise OSError(msg)
    # JSON tells paths exactly.
    asked = arguments.jsonl or arguments.csv
    return asked or Path(stack.enter_context(TemporaryDirectory())) / "rows.jsonl"


def _pictures(arguments: Namespace) -> PictureFolder | None:
    """What draws, if that is asked for."""
    if arguments.pictures is None:
        return None
    return PictureFolder(arguments.pictures_folder, common_folder(arguments.paths), arguments.pictures)


def _sources(arguments: Namespace, earlier: Earlier, stop: Event) -> tuple[Iterable[Source], int | None]:
    """The images that are still to be judged, and their number if it is known beforehand."""
    if arguments.watch:
        return watch(arguments.paths, stop, known=earlier), None
    sources = earlier.left_of(find_images(arguments.paths, sys.stdin))
    if "-" in arguments.paths:
        return sources, None
    known = list(sources)
    return known, len(known)


def _sinks(arguments: Namespace, total: int | None, kept: Path | None) -> Iterator[Sink]:
    """What takes the rows. The files come first: what is told was kept."""
    if arguments.csv is not None:
        yield CSVFile(arguments.csv, resumed=arguments.resume)
    if arguments.jsonl is not None:
        yield JSONLines(arguments.jsonl, resumed=arguments.resume)
    if kept not in {None, arguments.csv, arguments.jsonl}:
        yield JSONLines(kept)
    yield Text()
    yield Progress(total, arguments.progress)


@contextmanager
def _stopped_by_signals() -> Iterator[tuple[Event, list[int]]]:
    """Let the first signal to end set an event, so that what is under way is finished; a second one ends at once.

    Yields:
        The event, and a list that holds the signal if there was one.
    """
    stop, signals = Event(), list[int]()

    def note(number: int, _frame: object) -> None:
        signals.append(number)
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    if current_thread() is not main_thread():
        yield stop, signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, note)
    try:
        yield stop, signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
