# SPDX-License-Identifier: Apache-2.0
"""Inspection on all machines of a Ray cluster: Ray Data has the queue, the pool of actors and the retries.

An actor holds the compiled model, reads images and inspects them as on one machine. Only names and results pass through
Ray. A block of results is written by a separate task, which is repeated under the same file name if it is killed, so
that no row is lost or duplicated.
"""

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from rd_plugin.results import to_table
from rd_plugin.storage import file_system

from .inspector import Inspector
from .loading import model_files
from .pipeline import in_order
from .source import Source

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["InspectingActor", "cores_of_machines", "inspect_on_ray", "ray_cluster"]

# Images of one call of an actor at most, and calls for each actor at least, so that none is without work.
_BATCH, _CALLS = 64, 4
# Rows of a file at least. A killed driver loses those that are not yet in a file, and they are inspected again.
_ROWS = 2048
# Images whose names are in Ray at a time.
_AT_A_TIME = 200_000
# For a cluster of this machine alone: only names and results are kept in it.
_STORE = 200 * 2**20


class InspectingActor:
    """A compiled model in a separate process.

    Args:
        files: The model's files by name, as a reference to Ray's object store: other machines do not have them.
        name: Name of the model's own file.
        settings: Arguments of :class:`~rd_plugin.inspection.Inspector`.
        folder: Folder that relative paths refer to, if the machine has it.
    """

    def __init__(self, files: Any, name: str, settings: Mapping[str, Any], folder: str) -> None:
        import ray

        with suppress(OSError):
            os.chdir(folder)
        # Ray kills its processes, which then remove nothing: a model that is loaded needs its files no longer.
        with TemporaryDirectory(prefix="rd-plugin-") as place:
            for file, content in ray.get(files).items():
                Path(place, file).write_bytes(content)
            self._inspector = Inspector(Path(place, name), **settings)

    def __call__(self, asked: "pa.Table") -> "pa.Table":
        """Inspect images.

        Args:
            asked: A row for each image: ``position``, ``path``, and why it is ``missing``.

        Returns:
            The results as a table of Parquet's columns.
        """
        inspector = self._inspector
        sources = (Source(row["path"], row["missing"]) for row in asked.to_pylist())
        found = list(in_order(lambda source: _without_picture(inspector, source), sources, inspector.workers))
        results, statistics = zip(*found, strict=True)
        return to_table(results, asked["position"].to_pylist(), statistics)


def _without_picture(inspector: Inspector, source: Source) -> Any:
    result, statistics = inspector.inspect_file(source)
    return replace(result, picture=None), statistics


@contextmanager
def ray_cluster(quiet: bool = False) -> Iterator[None]:
    """Connect to a Ray cluster for a block: the one in ``RAY_ADDRESS``, or a new one of this machine alone.

    Args:
        quiet: Whether what its processes print stays in Ray's own files.

    Raises:
        ImportError: If Ray is not installed.
        OSError: If the cluster does not answer, or none can be started.
    """
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        msg = f"engine ray needs {error.name}: pip install 'rd-plugin[ray]'."
        raise ImportError(msg) from error
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    own: dict[str, Any] = {"object_store_memory": _STORE, "include_dashboard": False} if address is None else {}
    try:
        ray.init(address or "local", logging_level=logging.WARNING, log_to_driver=not quiet, **own)
    except Exception as error:  # Ray raises bare ones, too
        what = "Ray could not be started" if address is None else f"RAY_ADDRESS {address!r}: no Ray cluster answers"
        msg = f"{what} ({' '.join(str(error).split())})."
        raise OSError(msg) from error
    try:
        yield
    finally:
        ray.shutdown()


def cores_of_machines() -> list[int]:
    """Return the number of cores of each machine of the cluster that has any."""
    import ray

    found = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    return [cores for cores in found if cores]


def inspect_on_ray(
    model: Path,
    settings: Mapping[str, Any],
    sources: Iterable[tuple[int, Source]],
    place: str,
    actors: int | None = None,
    progress: bool | None = None,
) -> str:
    """Inspect images on the cluster that Ray is connected to, and write their results as Parquet files.

    Args:
        model: The model, on this machine.
        settings: Arguments of :class:`~rd_plugin.inspection.Inspector`; ``threads`` is the number of cores of an actor.
        sources: The images with their positions. All machines must reach them under the same names.
        place: Path or address of the folder of results, which all machines reach.
        actors: How many actors; by default one for each machine, or for each GPU.
        progress: Whether Ray shows its progress; by default on a terminal.

    Returns:
        What the names of this run's files begin with.

    Raises:
        ImportError: If a package is missing.
        OSError: If results cannot be written.
        ValueError: If the cluster has too few cores.
    """
    import pyarrow as pa
    import ray
    from pyarrow.fs import FSSpecHandler, PyFileSystem
    from ray.data.datasource import FilenameProvider

    run = uuid4().hex

    class Names(FilenameProvider):
        """Names of the files: a repeated task writes the same one again."""

        def get_filename_for_task(self, write_uuid: str, task_index: int) -> str:
            return f"{run}-{write_uuid}-{task_index:06}-{{i}}.parquet"

    # It warns that no core is free, which is meant, and of each data set that it has no progress bar.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = sys.stderr.isatty() if progress is None else progress
    on_gpu = str(settings.get("device", "cpu")).lower().startswith("cuda")
    actors, threads = _shares(actors, settings.get("threads"), on_gpu)
    settings = {**settings, "threads": threads, "workers": settings.get("workers") or threads}
    files = {file.name: file.read_bytes() for file in model_files(model) if file.suffix != ".sums"}
    constructor = (ray.put(files), model.name, settings, str(Path.cwd()))
    storage, path = file_system(place)
    waiting = iter(sources)
    while some := list(islice(waiting, _AT_A_TIME)):
        size = min(_BATCH, -(-len(some) // (_CALLS * actors)))
        blocks = [_block(pa, some[start : start + size]) for start in range(0, len(some), size)]
        data = ray.data.from_arrow(blocks).map_batches(
            InspectingActor,
            batch_size=None,
            batch_format="pyarrow",
            fn_constructor_args=constructor,
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=threads,
            num_gpus=1 if on_gpu else None,
        )
        # Without a core of their own, which the actors may have taken all.
        data.write_parquet(
            path,
            filesystem=PyFileSystem(FSSpecHandler(storage)),
            try_create_dir=False,
            filename_provider=Names(),
            min_rows_per_file=_ROWS,
            ray_remote_args={"num_cpus": 0},
        )
    return run


def _block(pa: Any, some: Sequence[tuple[int, Source]]) -> "pa.Table":
    """The names of images as a table."""
    return pa.table(
        {
            "position": [position for position, _ in some],
            "path": [source.path for _, source in some],
            "missing": [source.missing for _, source in some],
        }
    )


def _shares(actors: int | None, threads: int | None, on_gpu: bool) -> tuple[int, int]:
    """How many actors there are, and the number of cores of each.

    Raises:
        ValueError: If no machine has so many.
    """
    import ray

    cores = cores_of_machines()
    gpus = int(sum(node["Resources"].get("GPU", 0) for node in ray.nodes() if node["Alive"]))
    if actors is None:
        actors = gpus if on_gpu else sum(count // threads for count in cores) if threads else len(cores)
    least = 1 if threads is None else threads
    if not actors or not cores or max(cores) < least:
        has = ", ".join(f"{count} cores" for count in cores) or "no cores"
        needs = f"{least} cores each{' and a GPU' if on_gpu else ''}"
        msg = f"actors need {needs}; the machines have {has}, and {gpus} GPUs."
        raise ValueError(msg)
    # As many on each machine, so that none waits for a place.
    return actors, threads or max(1, min(cores) // -(-actors // len(cores)))
