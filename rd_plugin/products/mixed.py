# SPDX-License-Identifier: Apache-2.0
"""Images of several products in one run, each inspected with the model of its product."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from threading import Event, Lock

import numpy as np

from rd_plugin.inspection import Inspector, Source
from rd_plugin.inspection.inspector import current_time
from rd_plugin.inspection.pipeline import in_order
from rd_plugin.results import InspectionResult

__all__ = ["MixedInspector"]


class MixedInspector:
    """Inspects each image with the model of the product or part that a folder in its path names.

    A model is loaded with its first image.

    Args:
        names: Returns the names of all products.
        product_of: Returns the product that a path says; ``None`` if it says none.
        load: Makes the inspector of a product, given its name.
        kind: What the names are of, for messages.
        recognize: Returns what an image may show, the nearest first, if its path does not say it.
    """

    def __init__(
        self,
        names: Callable[[], Collection[str]],
        product_of: Callable[[str], str | None],
        load: Callable[[str], Inspector],
        kind: str = "product",
        recognize: Callable[[Source], Sequence[str]] = lambda _: (),
    ) -> None:
        self._names, self._product_of, self._load, self._kind = names, product_of, load, kind
        self._recognize = recognize
        self._loading = Lock()
        self._inspectors: dict[str, Inspector] = {}

    @property
    def inspectors(self) -> dict[str, Inspector]:
        """The inspectors that have been loaded so far, by product."""
        return dict(sorted(self._inspectors.items()))

    def inspect(
        self,
        sources: Iterable[Source],
        each: Sequence[Callable[[InspectionResult], None]] = (),
        stop: Event | None = None,
    ) -> Iterator[InspectionResult]:
        """Inspect image files as their paths arrive; see :meth:`~rd_plugin.inspection.Inspector.inspect`.

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
            inspector, reason = (None, source.missing) if source.missing else self._inspector(source)
            if inspector is None:
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

    def _inspector(self, source: Source) -> tuple[Inspector | None, str]:
        """The inspector of an image's product, or why there is none."""
        name = self._product_of(source.path)
        if name is None:
            found = self._recognize(source)
            if len(found) != 1:
                nowhere = f"no folder in its path is named after a {self._kind} ({', '.join(self._names())})"
                unsure = f", and it may show {' or '.join(found)}, which are about equally near" if found else ""
                return None, f"{nowhere}{unsure}."
            (name,) = found
        with self._loading:
            if name not in self._inspectors:
                self._inspectors[name] = self._load(name)
            return self._inspectors[name], ""
