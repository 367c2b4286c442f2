# SPDX-License-Identifier: Apache-2.0
"""Records: one Parquet file a suite, with a row for each thing that a run measured.

A row holds the run's settings, what was measured, and where: device, versions, commit, date. A run is found again by
its settings. A setting that is missing is ``None``, so that a new one with that default leaves earlier records valid.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from rd_plugin.storage import atomic_file

__all__ = ["RESULTS", "done", "find", "key", "plain", "read", "write"]

# Where records are kept unless another folder is asked for.
RESULTS = Path(__file__).parents[1] / "results"


def plain(value: Any) -> Any:
    """Return a setting as a column keeps it: mappings and lists as JSON, all else as it is."""
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list | tuple) else value


def key(settings: Mapping[str, Any], names: Iterable[str]) -> tuple[Any, ...]:
    """Return the values of some settings, by which a run is found; NaN stands for ``None``."""
    values = (plain(settings.get(name)) for name in names)
    return tuple(None if value is None or value != value else value for value in values)  # NaN


def read(file: Path) -> pd.DataFrame:
    """Return all rows of a file in the order in which they were measured; without a file an empty frame."""
    return pq.read_table(file).to_pandas(integer_object_nulls=True) if file.exists() else pd.DataFrame()


def find(frame: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of a run."""
    columns = [name for name in settings if name in frame]
    missing = any(settings[name] is not None for name in settings if name not in frame)
    wanted = key(settings, columns)
    if missing or not columns:
        return frame[:0]
    rows = zip(*(frame[name] for name in columns), strict=True)
    return frame[[key(dict(zip(columns, row, strict=True)), columns) == wanted for row in rows]]


def done(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of runs that have not failed."""
    return frame[frame["failure"].isna()].reset_index(drop=True) if "failure" in frame else frame


def write(file: Path, settings: Mapping[str, Any], rows: list[dict[str, Any]]) -> None:
    """Add the rows of a run, in place of those that have the same settings; the file is whole at any time.

    Args:
        file: The Parquet file.
        settings: The run's settings, which become columns of each row.
        rows: What was measured: numbers, texts, arrays of one dimension.
    """
    whole = [{**{name: plain(value) for name, value in settings.items()}, **row} for row in rows]
    names = dict.fromkeys(name for row in whole for name in row)
    new = pa.table({name: [row.get(name) for row in whole] for name in names})
    file.parent.mkdir(parents=True, exist_ok=True)
    # Several processes may share a file.
    with FileLock(file.with_suffix(".lock")):
        if file.exists():
            frame = read(file)
            others = pa.array(~frame.index.isin(find(frame, settings).index))
            new = pa.concat_tables([pq.read_table(file).filter(others), new], promote_options="permissive")
        with atomic_file(file) as partial:
            pq.write_table(new, partial, compression="zstd")
