# SPDX-License-Identifier: Apache-2.0
"""Results of an earlier run, so that another run can continue it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from rd_plugin.results import COLUMNS, InspectionResult, done_paths, in_order, read_results, results_of
from rd_plugin.storage import printable

from .source import Source

__all__ = ["Earlier", "earlier_results", "earlier_rows"]


class Earlier:
    """Results of an earlier run.

    Args:
        results: The results, in their order.
    """

    def __init__(self, results: list[InspectionResult]) -> None:
        self.results = results
        # Paths are escaped in CSV.
        self._done = {printable(result.path) for result in results}

    def __contains__(self, path: object) -> bool:
        """Whether a file has a result."""
        return printable(path) in self._done

    def left_of(self, sources: Iterable[Source]) -> Iterator[Source]:
        """Yield the sources that have no result yet."""
        return (source for source in sources if source.path not in self)


def earlier_results(csv_file: Path | None, jsonl_file: Path | None, *models: str) -> Earlier:
    """Read the results of an earlier run, and cut its files to the same complete results.

    A killed run may leave half a line, or may have written its last result only to the first file. Both are removed,
    and that image is inspected again.

    Args:
        csv_file: Its file of CSV, or ``None``.
        jsonl_file: Its file of JSON lines, or ``None``.
        *models: Names of the models of this run.

    Raises:
        OSError: If a file cannot be read or written.
        ValueError: If a file is not from such a run, was made with another model, or does not match the other file.
    """
    paths = {"csv": csv_file, "jsonl": jsonl_file}
    given = {kind: path for kind, path in paths.items() if path is not None}
    if not given:
        msg = "resume needs a file of an earlier run: give csv or jsonl."
        raise ValueError(msg)
    found = {kind: _read(path, kind) for kind, path in given.items()}
    lengths = [len(results) for results, _ in found.values()]
    count = min(lengths)
    names = [[printable(result.path) for result in results[:count]] for results, _ in found.values()]
    if max(lengths) > count + 1 or any(others != names[0] for others in names):
        msg = (
            f"csv {str(csv_file)!r} and jsonl {str(jsonl_file)!r} hold {' and '.join(map(str, lengths))} results, not "
            "those of one run; give only the file to resume."
        )
        raise ValueError(msg)
    for kind, path in given.items():
        if other := next((result.model for result in found[kind][0] if result.model not in models), None):
            ours = " or ".join(map(repr, models))
            msg = f"{kind} {str(path)!r} was made with model {other!r}, but this model is {ours}."
            raise ValueError(msg)
    for kind, path in given.items():
        if path.exists() and path.stat().st_size > (end := found[kind][1][count]):
            with path.open("rb+") as file:
                file.truncate(end)
    # JSON holds paths exactly.
    return Earlier(list(found.values())[-1][0][:count])


def earlier_rows(place: str, *models: str) -> Earlier:
    """Read the results of an earlier run from a folder of Parquet files.

    Raises:
        ImportError: If a package is missing.
        OSError: If a file cannot be read.
        ValueError: If the results are of another model.
    """
    done_paths(place, models)
    return Earlier([result for table in in_order(place) for result in results_of(table)])


def _read(path: Path, kind: str) -> tuple[list[InspectionResult], list[int]]:
    """The results with a complete line, and the ends of the header and of each result."""
    if not path.exists():
        return [], [0]
    try:
        found = read_results(path, "csv" if kind == "csv" else "jsonl")
    except ValueError as error:
        msg = f"{kind} cannot be resumed: {error}"
        raise ValueError(msg) from error
    # The header may be incomplete, too.
    columns, header = ",".join(found.columns), ",".join(COLUMNS)
    if columns != header and (found.results or found.ends[0] or not header.startswith(columns)):
        msg = f"{kind} {str(path)!r} cannot be resumed: it has other columns."
        raise ValueError(msg)
    return found.results[: len(found.ends) - 1], found.ends
