# SPDX-License-Identifier: Apache-2.0
"""A folder of results as Parquet files, on a disk or in object storage: one writer, one reader.

Each file is complete or absent. Rows are in any order; each has the index of its image among all images of the run.
pyarrow is imported when such a folder is used.
"""

import math
import time
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from rd_plugin.storage import file_system, make_folder

from .result import COLUMNS, InspectionResult

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "ParquetFolder",
    "done_paths",
    "in_order",
    "prepare_folder",
    "remove_strays",
    "results_of",
    "text_of",
    "to_table",
]

_ENDING = ".parquet"
# Rows of a file at most, and the longest time in seconds that a row waits for others.
_ROWS, _SECONDS = 1000, 60.0
# Rows that are in memory at a time.
_AT_A_TIME = 50_000
_NUMBERS = {"score", "threshold", "milliseconds", "correlation", "shift_x", "shift_y"}


@cache
def schema() -> "pa.Schema":
    """Return the columns and their types: those of a row, ``position`` and ``statistics``.

    Raises:
        ImportError: If pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ModuleNotFoundError as error:
        msg = f"parquet needs {error.name}: pip install pyarrow fsspec."
        raise ImportError(msg) from error
    number = pa.float64()
    region = pa.struct(
        [
            *((name, pa.int32()) for name in ("x", "y", "width", "height", "area")),
            *((name, number) for name in ("peak", "mean", "center_x", "center_y", "length", "breadth")),
            ("ignored", pa.bool_()),
        ]
    )
    special = {"boxes": pa.list_(region), "time": pa.timestamp("ms", "UTC")} | dict.fromkeys(_NUMBERS, number)
    columns = [(name, special.get(name, pa.string())) for name in COLUMNS]
    return pa.schema([*columns, ("position", pa.int64()), ("statistics", pa.list_(number))])


def text_of(path: str) -> str:
    r"""Return a path as Parquet holds it: a file's name may hold bytes that are no text, which are escaped.

    Example:
        >>> print(text_of("b\udcfc.png"))
        b\udcfc.png
    """
    return path.encode(errors="backslashreplace").decode()


def to_table(
    results: Sequence[InspectionResult],
    positions: Sequence[int],
    statistics: Sequence[np.ndarray | None] | None = None,
) -> "pa.Table":
    """Return results as a table of :func:`schema`.

    Args:
        results: The results.
        positions: Index of each image among all images of the run, from 0.
        statistics: Statistics of each image for drift, of shape ``(15,)``; ``None`` where there are none.
    """
    import pyarrow as pa

    rows = []
    known = [None] * len(results) if statistics is None else statistics
    for result, position, values in zip(results, positions, known, strict=True):
        row = result.plain()
        row["path"] = text_of(result.path)
        row["time"] = datetime.fromisoformat(result.time) if result.time else None
        rows.append({**row, "position": position, "statistics": None if values is None else values.tolist()})
    return pa.Table.from_pylist(rows, schema())


def results_of(table: "pa.Table") -> Iterator[InspectionResult]:
    """Yield the results that a table of :func:`schema` holds."""
    for row in table.select(list(COLUMNS)).to_pylist():
        found = row["time"]
        row["time"] = "" if found is None else found.astimezone().isoformat(timespec="milliseconds")
        yield InspectionResult.of(row)


def prepare_folder(place: str, resumed: bool = False, replaced: bool = False) -> list[str]:
    """Make a folder ready for results.

    Args:
        place: Path or address of the folder.
        resumed: Whether it may hold results, which are kept; a file that a killed program left incomplete is removed.
        replaced: Whether it may hold results, which are removed.

    Returns:
        The files that are kept.

    Raises:
        ImportError: If pyarrow or a package for the address is missing.
        OSError: If it holds results and is neither resumed nor replaced, or cannot be written to.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema()
    files, path = file_system(place)
    if files.isfile(path):
        msg = f"parquet {place!r} must be a folder, and is a file."
        raise OSError(msg)
    there = _files(place)
    if there and not (resumed or replaced):
        msg = (
            f"parquet {place!r} holds results already; give another folder, remove it, replace it with --overwrite, or "
            "continue it with --resume."
        )
        raise FileExistsError(msg)
    make_folder(place)
    kept = []
    for file in there:
        if not replaced:
            try:
                with files.open(file) as opened:
                    pq.read_metadata(opened)
                kept.append(file)
                continue
            except pa.ArrowInvalid:
                pass
        files.rm_file(file)
    return kept


def remove_strays(place: str, kept: Collection[str], run: str) -> None:
    """Remove files that came from neither an earlier run nor this one: a killed run may continue for some seconds.

    Args:
        place: Path or address of the folder.
        kept: The files of earlier runs, which :func:`prepare_folder` has returned.
        run: What the names of this run's files begin with.
    """
    files, _ = file_system(place)
    for file in set(_files(place)) - set(kept):
        if not file.rpartition("/")[2].startswith(run):
            files.rm_file(file)


def _files(place: str) -> list[str]:
    """The files of a folder of results, as paths within its file system."""
    files, path = file_system(place)
    files.invalidate_cache()
    if not files.isdir(path):
        return []
    names = files.ls(path, detail=False)
    return sorted(name for name in names if name.endswith(_ENDING) and not name.rpartition("/")[2].startswith("."))


def _dataset(place: str, chosen: Sequence[str] | None = None) -> Any:
    """The folder, or the chosen files of it, as a data set of pyarrow's."""
    import pyarrow.dataset as ds
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    files, _ = file_system(place)
    found = _files(place) if chosen is None else list(chosen)
    return ds.dataset(found, schema(), "parquet", PyFileSystem(FSSpecHandler(files)))


def done_paths(place: str, models: Collection[str], kept: Sequence[str] | None = None) -> set[str]:
    """Return the paths of the images that have a result.

    Args:
        place: Path or address of the folder.
        models: Names of the models whose results can be continued.
        kept: The files that count; all by default.

    Raises:
        ValueError: If the results are of another model.
    """
    paths = set[str]()
    for batch in _dataset(place, kept).to_batches(columns=["path", "model"]):
        if others := set(batch.column("model").unique().to_pylist()) - set(models):
            ours = " or ".join(map(repr, sorted(models)))
            msg = f"parquet {place!r} was made with model {sorted(others)[0]!r}, but this model is {ours}."
            raise ValueError(msg)
        paths.update(batch.column("path").to_pylist())
    return paths


def in_order(place: str) -> Iterator["pa.Table"]:
    """Yield the rows of a folder in the order of their positions, some at a time."""
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    data = _dataset(place)
    highest = (pc.max(batch.column(0)).as_py() for batch in data.to_batches(columns=["position"]))
    last = max((place for place in highest if place is not None), default=-1)
    where = ds.field("position")
    for start in range(0, last + 1, _AT_A_TIME):
        table = data.to_table(filter=(where >= start) & (where < start + _AT_A_TIME))
        yield table.sort_by([("position", "ascending"), ("path", "ascending")])


class ParquetFolder:
    """A folder that receives results, as a file for each thousand of them.

    A killed run loses the rows that are not yet in a file: ``--resume`` inspects those images again.

    Args:
        place: Path or address of the folder.
        begin: Position of the first image.

    Raises:
        ImportError: If pyarrow or a package for the address is missing.
        OSError: If it cannot be written to.
    """

    def __init__(self, place: str, begin: int = 0) -> None:
        self._place = place
        self._name = uuid4().hex
        self._next = begin
        self._rows: list[InspectionResult] = []
        self._since = math.inf

    def write(self, result: InspectionResult) -> None:
        """Receive a result.

        Raises:
            OSError: If a file cannot be written.
        """
        if not self._rows:
            self._since = time.monotonic()
        self._rows.append(result)
        if len(self._rows) >= _ROWS or time.monotonic() - self._since > _SECONDS:
            self.close()

    def close(self) -> None:
        """Write the rows that are left.

        Raises:
            OSError: If a file cannot be written.
        """
        import pyarrow.parquet as pq

        if not self._rows:
            return
        files, path = file_system(self._place)
        table = to_table(self._rows, range(self._next, self._next + len(self._rows)))
        name = f"{self._name}-{self._next:09}{_ENDING}"
        # Object storage shows a file when it is complete; on a disk it is renamed.
        partial = f"{path}/.{name}.partial"
        with files.open(partial, "wb") as file:
            pq.write_table(table, file)
        files.mv(partial, f"{path}/{name}")
        self._next += len(self._rows)
        self._rows = []
