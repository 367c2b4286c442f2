# SPDX-License-Identifier: Apache-2.0
"""Tables and pictures of the records of a suite."""

import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import yaml
from torchmetrics.functional.classification import binary_roc

from benchmarks.common.records import Record, read
from benchmarks.common.tables import markdown, plus_minus
from rd_plugin.storage import atomic_file

from .cells import COSTS, model_name
from .conditions import describe
from .measures import METRICS, to_unit

__all__ = ["long_table", "means", "summarize", "write"]

_PUBLISHED = Path(__file__).with_name("published.yaml")
_MEAN = "mean"
_SETTINGS = ("images", "teacher", "size", "length", "batch")
_UNDISTURBED = describe({})
# A run of a model, of which a record or two may speak.
_RUN = ["seed", "draw"]
# In this order a model's figures are told apart; the rest of a row is figures.
_ROW = ["data", "model", *_SETTINGS]


def _rows(record: Record) -> list[dict[str, Any]]:
    """A row for each map of a record, or one for a failure."""
    content, settings = record.content, record.settings
    model = model_name(settings)
    ((unit, count),) = settings["length"].items()
    weights = {True: "timm's weights", False: "random weights"}.get(settings["pre_trained"], settings["pre_trained"])
    row = {
        "data": settings["data"],
        "category": settings["category"],
        "model": model,
        "teacher": f"{settings['backbone']} ({weights})",
        "size": f"{settings['image_size']} px",
        "length": f"{count} {unit if count > 1 else unit[:-1]}",
        "images": describe(settings),
        "batch": str(settings["batch"] * settings["devices"]),
        "seed": settings["seed"],
        "draw": settings.get("draw", 0),
        "date": content["date"],
        "record": record,
        "part": "",
    }
    if record.failed:
        return [{**row, "failure": "{type}: {text}".format(**content["failure"])}]
    costs = {name: content[name] for name in COSTS if name in content}
    rows = []
    for part, figures in content["figures"].items():
        # Parts are maps of one training, or its judgements under disturbances.
        named = (
            {"images": describe(settings, part)} if settings.get("disturbed") else {"model": f"{model} {part}".strip()}
        )
        rows.append({**row, **named, "part": part, **figures, **costs})
    return rows


def long_table(folder: Path) -> pd.DataFrame:
    """Return a row for each record and map in a suite's folder, oldest first, with ``failure`` or with figures.

    Of rows for the same run, such as those of a record with disturbances and one without, the newest stays.
    """
    rows = [row for record in read(folder) for row in _rows(record)]
    table = pd.DataFrame(rows, columns=list(dict.fromkeys([*(key for row in rows for key in row), "failure"])))
    return table.drop_duplicates([*_ROW, "category", *_RUN], keep="last", ignore_index=True)


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Add, for each model and run, the mean over categories; of those runs alone that have the most categories."""
    metrics = [metric for metric in (*METRICS, *COSTS) if metric in table]
    done = table[table["failure"].isna()]
    grouped = done.groupby([*_ROW, *_RUN], sort=False)
    over = grouped[metrics].mean()
    over["categories"] = grouped.size()
    most = over.groupby(_ROW, sort=False)["categories"].transform("max")
    over = over[(over["categories"] == most) & (most > 1)].reset_index().assign(category=_MEAN)
    return pd.concat([done.assign(categories=1), over], ignore_index=True)


def summarize(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean and standard deviation over runs (seeds, draws), and what is published of the same data.

    A row for each model and category, and for each model's mean over categories. Columns: data, model, settings,
    category, categories, runs, costs, and for each metric its name and its name with ``_std``, which is empty for one
    run.
    """
    metrics = [metric for metric in METRICS if metric in table]
    grouped = means(table).groupby([*_ROW, "category", "categories"], sort=False)
    summary = grouped[metrics].mean()
    for metric in metrics:
        summary[f"{metric}_std"] = grouped[metric].std()
    summary.insert(0, "runs", grouped.size())
    for cost in COSTS:
        if cost in table:
            summary[cost] = grouped[cost].mean()
    known = pd.DataFrame(yaml.safe_load(_PUBLISHED.read_text()))
    known = known[known["data"].isin(summary.index.get_level_values("data"))]
    columns = [column for column in known if column not in METRICS or column in metrics]
    known = known[columns].assign(category=_MEAN)
    return pd.concat([summary.reset_index(), *([known] if len(known) else [])], ignore_index=True)


def _text(row: pd.Series, metric: str) -> str:
    """Mean and, of several runs, standard deviation."""
    if pd.isna(row[metric]):
        return ""
    deviation = row.get(f"{metric}_std")
    return plus_minus(row[metric], None if pd.isna(deviation) else deviation)


def _markdown(table: pd.DataFrame, summary: pd.DataFrame) -> str:
    """Tables of each data set, the mean over categories first; settings that never vary stand above."""
    metrics = [metric for metric in METRICS if metric in summary]
    ours = summary[summary["runs"].notna()]
    varied = [name for name in _SETTINGS if ours[name].nunique() > 1]
    same = ", ".join(f"{name} {ours[name].iloc[0]}" for name in _SETTINGS if name not in varied and len(ours))
    text = [f"All runs: {same}. Mean ± standard deviation over runs; last weights." if same else "No figures yet."]
    head = ["category", "model", *varied, "runs", *(METRICS[metric] for metric in metrics)]
    for data, rows in summary.groupby("data", sort=False):
        lines = []
        ordered = rows.assign(last=rows["category"] != _MEAN).sort_values(["last", "category"], kind="stable")
        for _, row in ordered.iterrows():
            category = f"mean of {row['categories']:.0f}" if row["category"] == _MEAN else row["category"]
            runs = "" if pd.isna(row["runs"]) else f"{row['runs']:.0f}"
            known = ["" if pd.isna(row[name]) else str(row[name]) for name in varied]
            lines.append([category, row["model"], *known, runs, *(_text(row, metric) for metric in metrics)])
        text += ["", f"## {data}", "", markdown(head, lines)]
    if "source" in summary:
        sources = summary.loc[summary["source"].notna(), ["data", "model", "source"]].to_numpy()
        text += ["", *(f"- {model} ({data}): {source}." for data, model, source in sources)]
    failed = table[table["failure"].notna()]
    if len(failed):
        text += ["", "Failed:", ""]
        text += [
            f"- {row.data}, {row.category}, {row.model}, seed {row.seed}: {' '.join(row.failure.split())}"
            for row in failed.itertuples()
        ]
    return "\n".join(text) + "\n"


def _labels(rows: pd.DataFrame) -> list[str]:
    """Models with those of their settings that vary."""
    varied = [name for name in _SETTINGS if rows[name].nunique() > 1]
    return [
        "\n".join([row["model"], *(f"{name} {row[name]}" for name in varied if pd.notna(row[name]))])
        for _, row in rows.iterrows()
    ]


def _bars(summary: pd.DataFrame) -> plt.Figure:
    """For each data set and metric a bar for each model: the mean over categories, or the only category."""
    pixels = "pixel_AUROC" in summary
    metrics = [metric for metric in METRICS if metric in summary and not (pixels and metric.startswith("map_"))]
    shown = []
    for _, rows in summary.groupby("data", sort=False):
        mean = rows[rows["category"] == _MEAN]
        shown.append(mean if mean["runs"].notna().any() else rows)
    heights = [0.42 * len(rows) + 0.8 for rows in shown]
    size = (1.5 + 3.2 * len(metrics), sum(heights) + 0.3)
    figure, axes = plt.subplots(
        len(shown), len(metrics), figsize=size, squeeze=False, sharey="row", height_ratios=heights, layout="constrained"
    )
    for line, rows in zip(axes, shown, strict=True):
        labels = _labels(rows)
        if rows["category"].nunique() > 1:
            labels = [f"{category}: {label}" for category, label in zip(rows["category"], labels, strict=True)]
        colours = ["tab:gray" if pd.isna(runs) else "tab:blue" for runs in rows["runs"]]
        for axis, metric in zip(line, metrics, strict=True):
            places = np.arange(len(rows))
            axis.barh(places, rows[metric], xerr=rows[f"{metric}_std"], color=colours, capsize=2)
            for place, (_, row) in zip(places, rows.iterrows(), strict=True):
                axis.text(0.02, place, _text(row, metric), va="center", color="white", fontsize=8)
            axis.set_yticks(places, labels, fontsize=8)
            axis.set_xlim(0, 1)
            axis.set_title(f"{rows['data'].iloc[0]}\n{METRICS[metric]}", fontsize=9)
        line[0].invert_yaxis()
    return figure


def _curves(rows: pd.DataFrame) -> plt.Figure:
    """ROC curves of all models on one category, and titled in its colour each one's scores."""
    columns = min(4, 1 + len(rows))
    lines = -(-(1 + len(rows)) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(3.4 * columns, 3 * lines), squeeze=False, layout="constrained")
    for axis in axes.flat[1 + len(rows) :]:
        axis.set_axis_off()
    curves = axes.flat[0]
    for axis, label, row in zip(axes.flat[1:], _labels(rows), rows.itertuples(), strict=False):
        arrays = row.record.arrays()
        scores, labels = arrays[f"scores {row.part}".strip()], arrays["labels"]
        false, true, _ = binary_roc(to_unit(torch.from_numpy(scores)), torch.from_numpy(labels).int())
        (line,) = curves.plot(false, true)
        bins = np.histogram_bin_edges(scores, 40)
        for chosen, name, colour in ((~labels, "normal", "tab:green"), (labels, "anomalous", "tab:red")):
            axis.hist(scores[chosen], bins, alpha=0.6, density=True, label=name, color=colour)
        # The title is the curve's legend, too: a box in the plot would hide the curves of many models.
        parts = f"{label}, AUROC {row.image_AUROC:.3f}".split("\n")
        axis.set_title("\n".join(textwrap.fill(part, 44) for part in parts), fontsize=8, color=line.get_color())
        axis.set_xlabel("image score", fontsize=8)
        axis.legend(fontsize=7)
    curves.plot([0, 1], [0, 1], color="lightgray", linewidth=1)
    curves.set_title(f"{rows['data'].iloc[0]}, {rows['category'].iloc[0]}, seed {rows['seed'].iloc[0]}", fontsize=9)
    curves.set_xlabel("false positive rate", fontsize=8)
    curves.set_ylabel("true positive rate (image AUROC)", fontsize=8)
    return figure


def _save(figure: plt.Figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file) as partial:
        figure.savefig(partial, dpi=80, format="png")
    plt.close(figure)


def write(folder: Path) -> Path:
    """Write ``table.{csv,md,png}`` and, for each category, ``pictures/*.png``; return ``table.md``."""
    mpl.use("agg")
    table = long_table(folder)
    summary = summarize(table) if table["failure"].isna().any() else pd.DataFrame(columns=["data", "runs", *_SETTINGS])
    with atomic_file(folder / "table.csv") as file:
        summary.to_csv(file, index=False)
    with atomic_file(folder / "table.md") as file:
        file.write_text(_markdown(table, summary))
    # Pictures are of the data as they are: with all that was done to them they would show nothing.
    drawn = summary[summary["images"].isna() | (summary["images"] == _UNDISTURBED)]
    if len(drawn):
        _save(_bars(drawn), folder / "table.png")
    undisturbed = table[table["failure"].isna() & (table["images"] == _UNDISTURBED)]
    for (data, category), rows in undisturbed.groupby(["data", "category"]):
        first = rows[rows["seed"] == rows["seed"].min()]
        _save(_curves(first), folder / "pictures" / f"{data}_{category}.png")
    return folder / "table.md"
