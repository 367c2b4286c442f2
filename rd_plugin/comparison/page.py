# SPDX-License-Identifier: Apache-2.0
"""The comparison as a table and as one self-contained HTML file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from rd_plugin.report import draw_costs, page_part, page_template
from rd_plugin.results import Share
from rd_plugin.storage import atomic_file

from .recommendation import Recommendation
from .trial import Trial

__all__ = ["comparison_table", "write_comparison"]

_HEAD = ("model", "AUROC (95 %)", "defects found", "false alarms", "ms an image", "MB", "s of training")


def comparison_table(trials: Sequence[Trial], found: Recommendation) -> str:
    """Return a table with a row for each model, best first.

    Args:
        trials: The trials.
        found: What they say.
    """
    rows = [_HEAD, *_rows(trials, found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"  {line.rstrip()}" for line in lines)


def write_comparison(
    path: Path, trials: Sequence[Trial], found: Recommendation, settings: Mapping[str, object], failures: Sequence[str]
) -> None:
    """Write the page atomically.

    Args:
        path: The HTML file.
        trials: The trials of all models on all parts.
        found: What they say.
        settings: What was the same for all models, by name.
        failures: Why models are left out.

    Raises:
        OSError: If the file cannot be written.
    """
    costs = {trial.model: trial.milliseconds for trial in trials}
    text = page_template("comparison.html.jinja").render(
        style=page_part("report.css"),
        picture=Markup(draw_costs({name: (costs[name], *auroc) for name, auroc in found.auroc.items()}).svg),
        found=found,
        head=_HEAD,
        rows=_rows(trials, found),
        kinds=_kinds(trials, list(found.auroc)),
        models=list(found.auroc),
        few=min(trial.held_out for trial in trials),
        settings=settings,
        failures=failures,
    )
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _rows(trials: Sequence[Trial], found: Recommendation) -> list[tuple[str, ...]]:
    """The rows of the table; counts are those of all parts, costs those of the most expensive."""
    rows: list[tuple[str, ...]] = []
    for model, (value, low, high) in found.auroc.items():
        own = [trial for trial in trials if trial.model == model]
        rows.append(
            (
                model,
                f"{value:.3f} ({low:.3f} to {high:.3f})",
                _sum([trial.defects_found for trial in own]).percent,
                _sum([trial.false_alarms for trial in own]).percent,
                f"{max(trial.milliseconds for trial in own):.1f}",
                f"{max(trial.size for trial in own) / 1e6:.1f}",
                f"{sum(trial.seconds for trial in own):.0f}",
            )
        )
    return rows


def _kinds(trials: Sequence[Trial], models: Sequence[str]) -> list[tuple[str, ...]]:
    """Defects found of each kind: part, kind, and a share for each model."""
    rows = []
    for part in dict.fromkeys(trial.part for trial in trials):
        own = {trial.model: trial for trial in trials if trial.part == part}
        kinds = sorted({kind for trial in own.values() for kind in trial.kinds if kind})
        rows += [(part, kind, *(own[model].found_of(kind).percent for model in models)) for kind in kinds]
    return rows


def _sum(shares: Sequence[Share]) -> Share:
    """The share among the images of several parts."""
    return Share(sum(share.count for share in shares), sum(share.total for share in shares))
