# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin inspect``: run a trained model on image files."""

import logging
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeFloat, PositiveInt

from rd_plugin.data.check import MAX_PIXELS, read_file
from rd_plugin.data.part_names import part_of
from rd_plugin.inspection import (
    SETTLE,
    Earlier,
    Inferencer,
    Inspector,
    MultiFrame,
    PictureFolder,
    Precision,
    Progress,
    Sink,
    Source,
    Text,
    common_folder,
    earlier_results,
    earlier_rows,
    fetched,
    find_images,
    is_video,
    load_inferencer,
    recorded_parts,
    watch,
)
from rd_plugin.products import MixedInspector, Store
from rd_plugin.results import (
    ParquetFolder,
    RegionRules,
    ResultFile,
    is_standard_output,
    is_stream,
    prepare_folder,
)
from rd_plugin.storage import is_address, local_file

from . import on_ray
from .delivery import add_delivery_arguments, deliverers

if TYPE_CHECKING:
    from rd_plugin.report import Selection

__all__ = ["add_arguments", "run"]

logger = logging.getLogger(__name__)

# Parts of an exit status, which are added; 2 and 3 mean that the command itself failed.
_ERROR, _ANOMALOUS, _DRIFTED = 1, 4, 8
# How many of the last images are compared while folders are watched.
_WINDOW = 50
_NO_REFERENCE = "the model's record has no sample of its training images"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments."""
    add: Any = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        type=Path,
        help="OpenVINO (.xml), ONNX (.onnx), torch export (.pt), checkpoint (.ckpt), a folder of products, or "
        "models:/NAME/VERSION in MLflow",
    )
    add(
        "paths",
        metavar="PATH",
        type=str,
        nargs="+",
        help="files, folders (without masks), patterns ('parts/**/*.png'), addresses (s3://bucket/parts), "
        "videos, streams (rtsp://...); - reads a list from standard input",
    )
    add("--product", metavar="NAME", type=str | None, help="inspect with the model of this product in the folder MODEL")
    add(
        "--product_from",
        type=Literal["path"] | None,
        help="path: a folder in the path of each image names the product whose model inspects it",
    )
    add(
        "--part",
        metavar="NAME",
        type=str | None,
        help="the part that the images show, for a checkpoint of several parts; by default a folder in the path "
        "names it, or else it is recognized",
    )
    add("--csv", metavar="FILE", type=_place, help="new file: a line for each image, as CSV; - is standard output")
    add("--jsonl", metavar="FILE", type=_place, help="new file: the same as JSON, one object per line; - likewise")
    add("--parquet", metavar="FOLDER", type=str | None, help="new folder: the same as Parquet files with typed columns")
    add(
        "--engine",
        type=Literal["local", "ray"],
        default="local",
        help="ray: on all machines of the Ray cluster in RAY_ADDRESS, or in processes of this one; needs --parquet",
    )
    add("--actors", metavar="N", type=PositiveInt | None, help="with --engine ray: processes that hold the model")
    add("--every", metavar="N", type=PositiveInt, default=1, help="inspect every n-th frame of a video or stream")
    add("--resume", action="store_true", help="continue the files of an earlier run; no image is inspected twice")
    add("--overwrite", action="store_true", help="replace files, report and pictures that exist already")
    add("--part_id", metavar="REGEX", type=str, help="finds the part's name in the file name, such as 'SN[0-9]+'")
    add("--pictures", type=Literal["all", "anomalous"], help="draw these images, with map, regions, verdict and score")
    add("--pictures_folder", metavar="FOLDER", type=Path, default=Path("pictures"), help="folder of the pictures")
    add(
        "--watch",
        action="store_true",
        help="inspect the images in the folders, and then new ones, until stopped",
    )
    add(
        "--settle",
        metavar="SECONDS",
        type=NonNegativeFloat,
        default=SETTLE,
        help="with --watch: try a file that cannot be decoded again, until it has not changed for this time",
    )
    add_delivery_arguments(parser)
    add("--report", metavar="FILE", type=_place, help="at the end, one HTML page: results, pictures, model, drift")
    add("--fail_on_anomalous", action="store_true", help="add 4 to the status if an image is anomalous")
    add(
        "--fail_on_drift",
        action="store_true",
        help="add 8 to the status if the images differ from the training images",
    )
    add("--threshold", type=float, help="try another threshold, without changing the model; rows state it")
    add("--min_area", type=float, help="ignore smaller regions; by default as in training. In pixels of the file")
    add("--pixel_size", type=float, help="side of a pixel in millimetres; min_area is then in square millimetres")
    add("--min_peak", type=float, help="ignore regions whose map stays below this number, between 0 and 1")
    add(
        "--multi_frame",
        type=MultiFrame,
        default="first",
        help="what to do about a file with several images",
    )
    add("--max_pixels", type=PositiveInt, default=MAX_PIXELS, help="maximum number in an image")
    add("--threads", type=PositiveInt | None, help="number of threads of the model; all cores by default")
    add("--precision", type=Precision, default="float32", help="less exact (.xml): bfloat16, float16 (NPU)")
    add(
        "--device",
        type=str,
        default="cpu",
        help="GPU, NPU or AUTO (.xml), or cuda; compared with the CPU once",
    )
    add("--workers", type=PositiveInt | None, help="number of threads that read images; one for each core by default")
    add("--progress", type=bool | None, help="whether to show a progress bar; by default on a terminal")


def _place(text: str) -> Path | str:
    """A local path, or an address as it is."""
    return text if is_address(text) else Path(text)


def run(arguments: Namespace) -> int:
    """Inspect images, and write each result as soon as it is known.

    Returns:
        Exit status: 1 if an image could not be inspected, plus 4 if an image was anomalous and 8 if drift was detected,
        if that was requested; that of a signal if one stopped the run.

    Raises:
        OSError: If the model does not exist, or a file of results exists already or cannot be written.
        ValueError: If the model or an argument cannot be used.
    """
    if arguments.watch and (others := [path for path in arguments.paths if not Path(path).is_dir()]):
        msg = f"watch needs existing folders; {others[0]!r} is not a folder."
        raise ValueError(msg)
    with ExitStack() as stack:
        # What belongs at an address is written here, and copied there at the end.
        for name in ("csv", "jsonl", "report"):
            if isinstance(address := arguments[name], str):
                again = {"resumed": arguments.resume and name != "report", "replaced": arguments.overwrite}
                arguments[name] = stack.enter_context(local_file(address, name, **again))
        _check_outputs(arguments)
        _check_report(arguments.report)
        arguments.model = fetched(arguments.model)
        if arguments.engine == "ray":
            return on_ray.run(arguments, _model(arguments), _settings(arguments))
        return _run(arguments)


def _run(arguments: Namespace) -> int:
    """Inspect images on this machine."""
    inspector, earlier = _inspector(arguments)
    pictures = _pictures(arguments)
    verdicts = {result.verdict for result in earlier.results}
    selection = None if arguments.report is None else _selection(earlier)
    with ExitStack() as stack, _stopped_by_signals() as (stop, signals):
        sources, total = _sources(arguments, earlier, stop)
        sinks = []
        for sink in _sinks(arguments, total, len(earlier.results)):
            stack.callback(sink.close)
            sinks.append(sink)
        for result in inspector.inspect(sources, each=[pictures.write] if pictures else [], stop=stop):
            for sink in sinks:
                sink.write(result)
            verdicts.add(result.verdict)
            if selection is not None:
                selection.add(result)
        inspectors = {"": inspector} if isinstance(inspector, Inspector) else inspector.inspectors
        drifted, summary = _drift(inspectors, earlier)
        if signals and not arguments.watch:
            return 128 + signals[0]
        if selection is not None:
            from rd_plugin.report import report_results

            record = dict(inspectors[""].inferencer.record) if "" in inspectors else None
            report_results(selection, arguments.report, record=record or None, drift=summary)
            logger.info("Report: %s", arguments.report)
    status = _ERROR if "error" in verdicts else 0
    status |= _ANOMALOUS if "anomalous" in verdicts and arguments.fail_on_anomalous else 0
    return status | (_DRIFTED if drifted and arguments.fail_on_drift else 0)


def _check_outputs(arguments: Namespace) -> None:
    """Check that no earlier results would be lost, and that what is continued can be.

    Raises:
        OSError: If a report or a folder of pictures exists already.
        ValueError: If options contradict each other.
    """
    files = [path for path in (arguments.csv, arguments.jsonl) if path is not None]
    if sum(map(is_standard_output, files)) > 1:
        msg = "csv and jsonl cannot both be standard output: give a file for one of them."
        raise ValueError(msg)
    if arguments.resume and (arguments.overwrite or any(map(is_stream, files))):
        msg = "resume continues csv and jsonl: they must be files, and --overwrite must be left out."
        raise ValueError(msg)
    if arguments.actors is not None and arguments.engine != "ray":
        msg = f"actors is for --engine ray, got engine {arguments.engine!r}."
        raise ValueError(msg)
    if arguments.resume and arguments.parquet is not None and files and arguments.engine != "ray":
        msg = "resume continues either parquet, or csv and jsonl; leave one of them out."
        raise ValueError(msg)
    if arguments.overwrite or arguments.resume:
        return
    there = {"report": arguments.report} if arguments.report is not None and arguments.report.is_file() else {}
    folder = arguments.pictures_folder
    if arguments.pictures is not None and folder.is_dir() and any(folder.iterdir()):
        there["pictures_folder"] = folder
    for name, path in there.items():
        msg = f"{name} {str(path)!r} exists already; give another name, remove it, or replace it with --overwrite."
        raise FileExistsError(msg)


def _rules(arguments: Namespace) -> RegionRules | None:
    """The rules that are given; ``None`` for those of the model."""
    names = ("min_area", "min_peak", "pixel_size")
    given = {name: arguments[name] for name in names if arguments[name] is not None}
    return RegionRules(**given) if given else None


def _model(arguments: Namespace) -> Path:
    """The file of the one model that inspects all images."""
    store = Store(arguments.model)
    return store.model(store.get(arguments.product)) if arguments.product else arguments.model


def _settings(arguments: Namespace) -> dict[str, Any]:
    """Arguments of an inspector."""
    return {
        "max_pixels": arguments.max_pixels,
        "multi_frame": arguments.multi_frame,
        "threads": arguments.threads,
        "workers": arguments.workers,
        "mode": "latency" if arguments.watch else "throughput",
        "window": _WINDOW if arguments.watch else None,
        "precision": arguments.precision,
        "threshold": arguments.threshold,
        "rules": _rules(arguments),
        "part_id": arguments.part_id,
        "device": arguments.device,
        "product": arguments.product or "",
        "part": arguments.part,
    }


def _inspector(arguments: Namespace) -> tuple[Inspector | MixedInspector, Earlier]:
    """What inspects the images, and the results of an earlier run."""
    store, name = Store(arguments.model), arguments.product
    if arguments.model.is_dir() != bool(name or arguments.product_from) or (name and arguments.product_from):
        msg = f"product or product_from is needed with a folder of products, and only there, got {str(store.folder)!r}."
        raise ValueError(msg)
    earlier = Earlier([])

    def load(model: Path | Inferencer, product: str = "") -> Inspector:
        inspector = Inspector(model, **{**_settings(arguments), "product": product})
        _check_drift(inspector, arguments.fail_on_drift)
        return inspector

    def go_on(inspector: Inspector, product: str = "") -> Inspector:
        if inspector.drift is not None and earlier.results:
            known = (result.score is not None and result.product == product for result in earlier.results)
            inspector.drift.go_on(sum(known))
        return inspector

    def recognize(source: Source) -> Sequence[str]:
        pixels = source.pixels
        if pixels is None:
            with suppress(OSError):
                _, pixels = read_file(source.to_decode(), arguments.max_pixels)
        # What cannot be read is of any part: its inspector says why.
        return parts[:1] if pixels is None else shared.recognize(pixels)

    parts = () if arguments.part is not None else recorded_parts(arguments.model)
    if arguments.product_from or parts:
        if parts:
            shared = load_inferencer(arguments.model, arguments.threads, device=arguments.device)
            models = {"", *(shared.of_part(part).record_id for part in parts)}
            mixed = MixedInspector(
                lambda: parts,
                lambda path: part_of(path, parts),
                lambda part: go_on(load(shared.of_part(part), part), part),
                "part",
                recognize,
            )
        else:
            models = {"", *store.models()}
            mixed = MixedInspector(
                store.names,
                store.product_of,
                lambda product: go_on(load(store.model(store.get(product)), product), product),
            )
        if arguments.resume:
            earlier = _earlier(arguments, *models)
        return mixed, earlier
    inspector = load(_model(arguments), name or "")
    if arguments.resume:
        earlier = _earlier(arguments, inspector.inferencer.record_id)
    return go_on(inspector, name or ""), earlier


def _earlier(arguments: Namespace, *models: str) -> Earlier:
    """The results of an earlier run."""
    if arguments.parquet is None:
        return earlier_results(arguments.csv, arguments.jsonl, *models)
    prepare_folder(arguments.parquet, resumed=True)
    return earlier_rows(arguments.parquet, *models)


def _check_drift(inspector: Inspector, asked: bool) -> None:
    """Report that drift cannot be checked if there is nothing to compare images with.

    Raises:
        ValueError: If the exit status depends on it.
    """
    if inspector.drift is not None:
        return
    if asked:
        msg = f"fail_on_drift: {_NO_REFERENCE}; train the model again, or leave the option out."
        raise ValueError(msg)
    logger.info("Drift: not checked, %s.", _NO_REFERENCE)


def _drift(inspectors: Mapping[str, Inspector], earlier: Earlier) -> tuple[bool, str]:
    """Whether drift was detected at any time, and a summary; both of all products."""
    before = any(result.drift == "yes" for result in earlier.results)
    alarmed, summaries = before, list[str]()
    for product, inspector in inspectors.items():
        summary = f"Not checked, {_NO_REFERENCE}."
        if inspector.drift is not None:
            inspector.drift.finish()
            alarmed |= inspector.drift.alarmed
            summary = f"{product}: {inspector.drift.summary()}" if product else inspector.drift.summary()
            logger.info("%s", summary)
        summaries.append(summary)
    if before:
        summaries.append("Drift was detected among the images of the earlier run.")
    return alarmed, " ".join(summaries)


def _selection(earlier: Earlier) -> "Selection":
    """What a report shows, beginning with the results of an earlier run."""
    from rd_plugin.report import Selection

    return Selection(earlier.results)


def _check_report(path: Path | None) -> None:
    """Check that a report can be written, before any image is inspected.

    Raises:
        ImportError: If what draws it is not installed, as on a station.
        OSError: If it cannot be written.
    """
    if path is None:
        return
    try:
        import_module("rd_plugin.report")
    except ModuleNotFoundError as error:
        msg = f"report needs {error.name}: pip install jinja2 matplotlib."
        raise ImportError(msg) from error
    if path.is_dir() or not path.absolute().parent.is_dir():
        msg = f"report {str(path)!r} must be a file in an existing folder."
        raise OSError(msg)


def _pictures(arguments: Namespace) -> PictureFolder | None:
    """The folder of pictures, if pictures are requested."""
    if arguments.pictures is None:
        return None
    return PictureFolder(arguments.pictures_folder, common_folder(arguments.paths), arguments.pictures)


def _sources(arguments: Namespace, earlier: Earlier, stop: Event) -> tuple[Iterable[Source], int | None]:
    """The images that are not yet inspected, and their number if it is known in advance."""
    if arguments.watch:
        settle, limit = arguments.settle, arguments.max_pixels
        return watch(arguments.paths, stop, settle=settle, known=earlier, max_pixels=limit), None
    sources = earlier.left_of(find_images(arguments.paths, sys.stdin, arguments.every, stop))
    if "-" in arguments.paths or any(map(is_video, arguments.paths)):
        return sources, None
    known = list(sources)
    return known, len(known)


def _sinks(arguments: Namespace, total: int | None, begin: int) -> Iterator[Sink]:
    """The sinks of the results. Files come first, so that every result that is shown has been written."""
    files = {"csv": arguments.csv, "jsonl": arguments.jsonl}
    given: dict[Any, Path] = {kind: path for kind, path in files.items() if path is not None}
    for kind, path in given.items():
        yield ResultFile(path, kind, arguments.resume, arguments.overwrite)
    if arguments.parquet is not None:
        prepare_folder(arguments.parquet, arguments.resume, arguments.overwrite)
        yield ParquetFolder(arguments.parquet, begin)
    yield from deliverers(arguments)
    yield Text(verdicts=not any(map(is_standard_output, given.values())))
    yield Progress(total, arguments.progress)


@contextmanager
def _stopped_by_signals() -> Iterator[tuple[Event, list[int]]]:
    """Let the first signal set an event, so that images in progress are finished; a second one stops the run at once.

    Yields:
        The event, and a list that holds the signal if one has arrived.
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
