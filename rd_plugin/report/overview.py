# SPDX-License-Identifier: Apache-2.0
"""The outcomes of the trainings of several products: a file, a table, and a page that links their reports."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rd_plugin.results import Share
from rd_plugin.storage import atomic_file, printable

from .template import page_part, page_template

__all__ = ["Outcome", "overview_table", "read_outcomes", "write_outcomes", "write_overview"]

_HEAD = ("product", "trained on", "tested on", "AUROC", "false alarms", "defects found", "minutes")


@dataclass(frozen=True)
class Outcome:
    """The outcome of the training of a product.

    Args:
        product: Its name.
        reason: Why there is no new model; empty if there is one.
        seconds: How long it took.
        training: Number of training images.
        tested: Number of test images.
        metrics: Metrics of the test by name, such as ``{"image_AUROC": 0.94}``.
        false_alarms: Good test images called anomalous at the model's threshold; ``None`` if none was tested.
        defects_found: Defects called anomalous at that threshold; ``None`` if none was tested.
        report: The report, relative to the overview; empty if there is none.
        checkpoint: The checkpoint, likewise.
    """

    product: str
    reason: str = ""
    seconds: float = 0.0
    training: int = 0
    tested: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    false_alarms: Share | None = None
    defects_found: Share | None = None
    report: str = ""
    checkpoint: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """The product's row of a table."""
        auroc = self.metrics.get("image_AUROC")
        return (
            printable(self.product),
            str(self.training),
            str(self.tested),
            "-" if auroc is None else f"{auroc:.4f}",
            *("-" if share is None else share.percent for share in (self.false_alarms, self.defects_found)),
            f"{self.seconds / 60:.1f}",
        )

    @property
    def link(self) -> str:
        """The report as an address relative to the overview."""
        return quote(os.fsencode(self.report))


def write_outcomes(path: Path, command: Sequence[str], outcomes: Iterable[Outcome]) -> None:
    """Write outcomes atomically.

    Args:
        path: A JSON file.
        command: The arguments of the trainings.
        outcomes: The outcomes.

    Raises:
        OSError: If the file cannot be written.
    """
    content = {"command": list(command), "products": [asdict(outcome) for outcome in outcomes]}
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(content, indent=1))


def read_outcomes(path: Path) -> tuple[list[str], list[Outcome]]:
    """Return the arguments and the outcomes of a file.

    Args:
        path: A file that :func:`write_outcomes` has written.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is another file.
    """
    try:
        content = json.loads(path.read_text())
        return list(content["command"]), [_outcome(entry) for entry in content["products"]]
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{str(path)!r} does not contain results of trainings; remove it."
        raise ValueError(msg) from error


def overview_table(outcomes: Sequence[Outcome]) -> str:
    """Return a table with a row for each product; a failure's row says why.

    Args:
        outcomes: The outcomes.
    """
    rows = [_HEAD, *(outcome.cells for outcome in outcomes if not outcome.reason)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    widths[0] = max([widths[0], *(len(printable(outcome.product)) for outcome in outcomes)])
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(_HEAD, widths, strict=True))]
    for outcome in outcomes:
        told = [f"failed: {printable(outcome.reason)}"] if outcome.reason else outcome.cells[1:]
        cells = zip((printable(outcome.product), *told), widths, strict=False)
        lines.append("  ".join(f"{cell:<{width}}" for cell, width in cells))
    return "\n".join(f"  {line.rstrip()}" for line in lines)


def write_overview(path: Path, title: str, outcomes: Sequence[Outcome]) -> None:
    """Write the page atomically.

    Args:
        path: The HTML file.
        title: What was trained.
        outcomes: The outcomes.

    Raises:
        OSError: If the file cannot be written.
    """
    page = page_template("overview.html.jinja").render(
        title=title, head=_HEAD, outcomes=outcomes, style=page_part("report.css")
    )
    with atomic_file(path) as partial:
        partial.write_text(page, encoding="utf-8")


def _outcome(entry: Mapping[str, Any]) -> Outcome:
    """An outcome from plain data."""
    shares = {name: Share(**entry[name]) for name in ("false_alarms", "defects_found") if entry[name] is not None}
    return Outcome(**{**entry, **shares})
