# SPDX-License-Identifier: Apache-2.0
"""Tables and pictures of the records of a suite."""

import json
import textwrap
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import yaml
from torchmetrics.functional.classification import binary_roc

from benchmarks.common.records import done, read
from benchmarks.common.tables import Figure, table, varied
from rd_plugin.storage import atomic_file

from .cells import COSTS, model_name
from .measures import METRICS, to_unit
from .perturbations import describe

__all__ = ["METRIC_FIGURES", "draw", "load", "named", "show", "with_means"]

_PUBLISHED = Path(__file__).with_name("published.yaml")
_MEAN = "mean"
_ONE_MODEL_FOR = "one model for"
_SETTINGS = (_ONE_MODEL_FOR, "images", "teacher", "size", "length", "batch")
_AS_THEY_ARE = describe({})
# A run of a model, of which a record or two may speak.
_RUN = ["seed", "draw"]
# A model's figures are told apart by these, in this order; the rest of a row is figures.
_ROW = ["data", "model", *_SETTINGS]
METRIC_FIGURES = {title: Figure(metric) for metric, title in METRICS.items()}


def _names(row: pd.Series) -> dict[str, object]:
    """What tables call a row: its model, what was done to its images, its teacher, size, length and batch."""
    settings = {**{name: None if pd.isna(value) else value for name, value in row.items() if np.isscalar(value)}}
    model = model_name({**settings, "arguments": json.loads(row["arguments"])})
    unit = "steps" if settings.get("steps") else "epochs"
    count = int(settings[unit])
    weights = {"true": "timm's weights", "false": "random weights"}.get(row["pre_trained"], row["pre_trained"])
    crop, joined = settings.get("crop"), settings.get("joined")
    return {
        "model": f"{model} {settings.get('part') or ''}".strip(),
        "category": settings.get("tested") or row["category"],
        _ONE_MODEL_FOR: f"all {len(json.loads(joined))}" if joined else "a category",
        "images": describe(settings, settings.get("perturbation") or ""),
        "teacher": f"{row['backbone']} ({weights})",
        "size": f"{int(crop)} of {row['image_size']} px" if crop else f"{row['image_size']} px",
        "length": f"{count} {unit if count > 1 else unit[:-1]}",
        "batch": str(row["batch"] * row["devices"]),
        "draw": settings.get("draw") or 0,
    }


def named(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of runs that have not failed, named as tables name them, oldest first.

    Of rows for the same run, such as those of a record with perturbations and one without, the newest stays.
    """
    rows = done(rows)
    if rows.empty:
        return pd.DataFrame(columns=[*_ROW, "category", *_RUN, *METRICS, *COSTS, "part", "scores", "labels", "kinds"])
    rows = rows.sort_values("date", kind="stable", na_position="first", ignore_index=True)
    rows = rows.assign(**pd.DataFrame([_names(row) for _, row in rows.iterrows()]))
    return rows.drop_duplicates([*_ROW, "category", *_RUN], keep="last", ignore_index=True)


def load(file: Path) -> pd.DataFrame:
    """Return the rows of a suite's file as :func:`named` does."""
    return named(read(file))


def with_means(frame: pd.DataFrame) -> pd.DataFrame:
    """Add, for each model and run, the mean over categories; of those runs alone that have the most categories."""
    metrics = [name for name in (*METRICS, *COSTS) if name in frame]
    grouped = frame.groupby([*_ROW, *_RUN], sort=False)
    over = grouped[metrics].mean()
    over["categories"] = grouped.size()
    most = over.groupby(_ROW, sort=False)["categories"].transform("max")
    over = over[(over["categories"] == most) & (most > 1)].reset_index().assign(category=_MEAN)
    return pd.concat([frame, over], ignore_index=True) if len(over) else frame


def show(frame: pd.DataFrame) -> str:
    """Return a table of each data set: mean and standard deviation over runs, beside published figures."""
    if frame.empty:
        return "No figures yet."
    varying = varied(frame, *_SETTINGS)
    same = ", ".join(f"{name} {frame[name].iloc[0]}" for name in _SETTINGS if name not in varying)
    frame = with_means(frame)
    frame = frame.assign(runs=frame.groupby([*_ROW, "category"])["seed"].transform("size").astype(str))
    published = pd.DataFrame(yaml.safe_load(_PUBLISHED.read_text())).assign(category=_MEAN)
    metrics = {title: figure for title, figure in METRIC_FIGURES.items() if figure.column in frame}
    text = [f"All runs: {same}. Mean ± standard deviation over runs; last weights."]
    for data, rows in frame.groupby("data", sort=False):
        known = published[published["data"] == data]
        shown = pd.concat([rows, known], ignore_index=True).sort_values(
            "category", key=lambda names: names != _MEAN, kind="stable"
        )
        by = {"category": "category", "model": "model", **varied(shown, _ONE_MODEL_FOR), **varying}
        text += [f"### {data}", table(shown, by, {"runs": Figure("runs"), **metrics})]
        text += [f"{row.model}: {row.source}." for row in known.itertuples()]
    return "\n\n".join(text)


def _labels(rows: pd.DataFrame) -> list[str]:
    """Models with those of their settings that vary."""
    return [
        "\n".join([row["model"], *(f"{name} {row[name]}" for name in varied(rows, *_SETTINGS))])
        for _, row in rows.iterrows()
    ]


def _curves(rows: pd.DataFrame) -> plt.Figure:
    """ROC curves of all models on one category, and titled in its colour each one's scores."""
    columns = min(4, 1 + len(rows))
    lines = -(-(1 + len(rows)) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(3.4 * columns, 3 * lines), squeeze=False, layout="constrained")
    for axis in axes.flat[1 + len(rows) :]:
        axis.set_axis_off()
    curves = axes.flat[0]
    for axis, label, row in zip(axes.flat[1:], _labels(rows), rows.itertuples(), strict=False):
        scores, labels = row.scores, row.labels.astype(bool)
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


def draw(frame: pd.DataFrame, folder: Path) -> None:
    """Draw ROC curves and scores of the first seed's runs on images as they are, a picture for each category."""
    mpl.use("agg")
    frame = frame[(frame["images"] == _AS_THEY_ARE) & frame["scores"].notna()]
    for (data, category), rows in frame.groupby(["data", "category"]):
        figure = _curves(rows[rows["seed"] == rows["seed"].min()])
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / f"{data}_{category}.png") as partial:
            figure.savefig(partial, dpi=80, format="png")
        plt.close(figure)
