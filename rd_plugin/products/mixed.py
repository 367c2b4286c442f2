# SPDX-License-Identifier: Apache-2.0
"""Images of several products in one run, each inspected with the model of its own product."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock

import numpy as np

from rd_plugin.inspection import Inspector, Source
from rd_plugin.inspection.inspector import current_time
from rd_plugin.inspection.pipeline import in_order
from rd_plugin.results import InspectionResult

from .store import Store

__all__ = ["MixedInspector"]


class MixedInspector:
    """Inspects each image with the model of the product that a folder in its path is named after.

    A model is loaded when its first image comes.

    Args:
        store: The products.
        load: Makes the inspector of a model, given its path and the product's name.

    Raises:
        ValueError: If the store has no product.
    """

    def __init__(self, store: Store, load: Callable[[Path, str], Inspector]) -> None:
        if not store.names():
            msg = f"{str(store.folder)!r} holds no product; add one with `rd-plugin products add`."
            raise ValueError(msg)
        self._store = store
        self._load = load
        self._loading = Lock()
        self._inspectors: dict[str, Inspector] = {}

    @property
    def inspectors(self) -> dict[str, Inspector]:
        """The inspectors that have been loaded so far, by product."""
        return dict(sorted(self._inspectors.items()))

    def models(self) -> Collection[str]:
        """Return the names of the models that results may have; an image without a product has none."""
        return {"", *(self._store.get(name).model for name in self._store.names())}

    def inspect(
        self,
        sources: Iterable[Source],
        each: Sequence[Callable[[InspectionResult], None]] = (),
        stop: Event | None = None,
    ) -> Iterator[InspectionResult]:
        """Inspect image files as their paths come in; see :meth:`~rd_plugin.inspection.Inspector.inspect`.

        Args:
            sources: The files.
            each: Called with each result and its picture, in the thread that has computed it.
            stop: When it is set, no more sources are taken.

        Returns:
            Results in the order of the files. An image without a product has the verdict ``"error"``.

        Raises:
            OSError: If a model cannot be read.
            ValueError: If a model cannot be used.
        """

        def work(source: Source) -> tuple[Inspector | None, InspectionResult, np.ndarray | None]:
            inspector = None if source.missing else self._inspector(source.path)
            if inspector is None:
                known = ", ".join(self._store.names())
                reason = source.missing or f"no folder in its path is named after a product ({known})."
                result = InspectionResult(source.path, "error", reason=reason, time=current_time())
                statistics = None
            else:
                result, statistics = inspector.inspect_file(source)
            for act in each:
                act(result)
            return inspector, replace(result, picture=None), statistics

        workers = (os.cpu_count() or 1) + 1
        for inspector, result, statistics in in_order(work, sources, workers, stop):
            yield result if inspector is None else inspector.compare(result, statistics)

    def _inspector(self, path: str) -> Inspector | None:
        """The inspector of an image's product."""
        name = self._store.product_of(path)
        if name is None:
            return None
        with self._loading:
            if name not in self._inspectors:
                self._inspectors[name] = self._load(self._store.model(self._store.get(name)), name)
            return self._inspectors[name]
