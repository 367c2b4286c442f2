# SPDX-License-Identifier: Apache-2.0
"""Which model finds defects best, on which images, and at what cost: the tables and the picture of a page.

    python -m benchmarks.accuracy.comparison [--records RECORDS]

Nothing is run. Read are the records that ``benchmarks.accuracy`` has left of solar cells, magnetic tiles and classes,
and of the ablations.
Printed are Markdown tables, and ``cost.png`` is drawn beside the records.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.ticker import LogLocator

from benchmarks.common.records import RESULTS, read
from benchmarks.common.tables import markdown, plus_minus
from rd_plugin.storage import atomic_file

from .cells import COSTS
from .conditions import DISTURBANCES, describe
from .measures import METRICS, area_under_roc
from .report import long_table, summarize
from .suites import ABLATIONS

__all__ = ["ablation", "classes", "costs", "disturbed", "evidence", "images", "kinds", "main", "regions", "tables"]

_AS_THEY_ARE = describe({})
_TURNED = describe({"turned": "black"})
_FEW = describe({"train_images": 20})
_TURNS = {_AS_THEY_ARE: "", _TURNED: ", turned"}


@dataclass(frozen=True)
class Column:
    """A column of the table: some images of some data.

    Args:
        title: Its title.
        suite: Suite of the records.
        data: The data set, or its category; of a data set the mean over all.
        images: What was done to the images.
        metric: What is shown.
        size: Side of the images.
    """

    title: str
    suite: str
    data: str
    images: str = _AS_THEY_ARE
    metric: str = "image_AUROC"
    size: str = "256 px"


_DATA = (("mono", "solar", "mono"), ("poly", "solar", "poly"), ("tiles", "folder", "magnetic_tile"))
_COLUMNS = (
    *(Column(*data) for data in _DATA),
    *(Column(f"{title}, turned", suite, data, _TURNED) for title, suite, data in (_DATA[0], _DATA[2])),
    *(Column(f"{title}, 20 images", suite, data, _FEW) for title, suite, data in (_DATA[0], _DATA[2])),
    # Of one class the papers score by the mean of the map.
    *(
        Column(title, "one_class", data, metric="map_mean_AUROC", size="32 px")
        for title, data in (("digits", "MNIST"), ("CIFAR-10 subset", "cifar10_subset"))
    ),
)
# What every table tells its rows apart by.
_KNOWN = ("data", "category", "model", "part", "images", "size", "length", "seed", "draw", "failure", "record")
_REGIONS = ("pixel_AUROC", "pixel_AUPRO", "pixel_AUPRO_per_image")


def _table(folder: Path) -> pd.DataFrame:
    """The long table of a suite, without failures; of a suite without figures an empty one."""
    table = long_table(folder) if read(folder) else pd.DataFrame()
    # Older records, and those of other data, lack some figures.
    known = [*_KNOWN, *METRICS, *COSTS]
    table = table.reindex(columns=[*table, *(name for name in known if name not in table)])
    return table[table["failure"].isna()].reset_index(drop=True)


def _summary(folder: Path) -> pd.DataFrame:
    """The summary of a suite."""
    table = _table(folder)
    return summarize(table) if len(table) else table.assign(**{f"{metric}_std": None for metric in METRICS})


def _summaries(records: Path) -> dict[str, pd.DataFrame]:
    """The summary of each suite that a column needs."""
    return {suite: _summary(records / suite) for suite in dict.fromkeys(column.suite for column in _COLUMNS)}


def _told_apart(rows: pd.DataFrame) -> pd.DataFrame:
    """Add its length to the name of a model that was trained in several."""
    lengths = rows.groupby("model")["length"].transform("nunique")
    # As text, which columns without rows are not.
    longer = rows["model"].astype(str) + ", " + rows["length"].astype(str)
    return rows.assign(model=rows["model"].where(lengths == 1, longer))


def _of(summary: pd.DataFrame, column: Column) -> pd.DataFrame:
    """Rows of a column, by model."""
    whole = (summary["data"] == column.data) & (summary["category"] == "mean")
    chosen = (whole | (summary["category"] == column.data)) & (summary["images"] == column.images)
    return _told_apart(summary[chosen & (summary["size"] == column.size)]).set_index("model")


def _cell(rows: pd.DataFrame, model: object, metric: str) -> str:
    """A figure with its spread, if there is one."""
    if model not in rows.index or pd.isna(rows.loc[model, metric]):
        return ""
    deviation = rows.loc[model, f"{metric}_std"]
    return plus_minus(rows.loc[model, metric], None if pd.isna(deviation) else deviation)


def _order(models: list[str]) -> list[str]:
    """Ours first, each with what varies of it; then anomalib's."""
    return sorted(dict.fromkeys(models), key=lambda model: (model.startswith("anomalib."), model))


def images(records: Path) -> str:
    """Return the table of image AUROC: a row for each model, a column for each kind of images."""
    summaries = _summaries(records)
    found = {column.title: _of(summaries[column.suite], column) for column in _COLUMNS}
    models = _order([model for rows in found.values() for model in rows.index])
    head = ["image AUROC", *(column.title for column in _COLUMNS)]
    rows = [[model, *(_cell(found[column.title], model, column.metric) for column in _COLUMNS)] for model in models]
    return markdown(head, rows)


def regions(records: Path) -> str:
    """Return the table of the figures by region, of the tiles."""
    rows = _of(_summary(records / "folder"), Column(*_DATA[2]))
    rows = rows[rows["pixel_AUROC"].notna()]
    head = ["magnetic tiles", "pixel AUROC", "PRO, pooled", "PRO, image by image"]
    return markdown(
        head, [[model, *(_cell(rows, model, metric) for metric in _REGIONS)] for model in _order(list(rows.index))]
    )


def disturbed(records: Path) -> str:
    """Return the table of image AUROC as it is, and of the points that each disturbance takes from it.

    Both are of the same runs: those that were tested under disturbances.
    """
    lines = []
    for title, suite, data in _DATA:
        table = _table(records / suite)
        rows = _told_apart(table[table["category"] == data])
        runs = rows.pivot_table("image_AUROC", ["model", "seed", "draw"], "images")
        runs = runs.reindex(columns=[_AS_THEY_ARE, *DISTURBANCES]).dropna()
        whole = runs[_AS_THEY_ARE].groupby("model").mean()
        changes = 100 * runs.drop(columns=_AS_THEY_ARE).sub(runs[_AS_THEY_ARE], axis=0).groupby("model").mean()
        lines += [
            [title, model, f"{whole[model]:.3f}", *(f"{change:+.1f}" for change in changes.loc[model])]
            for model in _order(list(changes.index))
        ]
    return markdown(["images", "model", _AS_THEY_ARE, *DISTURBANCES], lines)


def kinds(records: Path) -> str:
    """Return the table of image AUROC of each kind of defect of the tiles against all good ones, of one run."""
    _, suite, data = _DATA[2]
    table = _table(records / suite)
    table = table[(table["category"] == data) & (table["images"] == _AS_THEY_ARE) & (table["draw"] == 0)]
    found: dict[str, dict[str, float]] = {}
    for row in _told_apart(table).sort_values("seed", ascending=False).itertuples():
        arrays = row.record.arrays()
        if "kinds" in arrays:
            scores, labels = (torch.from_numpy(arrays[name]) for name in ("scores", "labels"))
            found[row.model] = {
                kind: area_under_roc(scores[chosen], labels[chosen])
                for kind in sorted(set(arrays["kinds"][arrays["labels"]]))
                for chosen in [~labels | torch.from_numpy(arrays["kinds"] == kind)]
            }
    names = list(dict.fromkeys(kind for figures in found.values() for kind in figures))
    return markdown(
        ["magnetic tiles", *names],
        [[model, *(f"{found[model][kind]:.3f}" for kind in names)] for model in _order(list(found))],
    )


def classes(records: Path) -> str:
    """Return the table of one class against the others: image AUROC by the maximum and the mean of the map."""
    summary = _summary(records / "one_class")
    columns = [column for column in _COLUMNS if column.suite == "one_class"]
    sizes = sorted(set(summary["size"]), key=lambda size: int(size.split()[0]))
    found = {(size, column.title): _of(summary, replace(column, size=size)) for size in sizes for column in columns}
    metrics = {"map_max_AUROC": "maximum of the map", "map_mean_AUROC": "mean"}
    head = ["image AUROC", "size", *(f"{column.title}: {name}" for column in columns for name in metrics.values())]
    return markdown(
        head,
        [
            [
                model,
                size,
                *(_cell(found[size, column.title], model, metric) for column in columns for metric in metrics),
            ]
            for model in _order([model for rows in found.values() for model in rows.index])
            for size in sizes
            if any(model in found[size, column.title].index for column in columns)
        ],
    )


def costs(records: Path) -> str:
    """Return the table of what an image and a training cost one core, of the runs that were timed."""
    summaries = _summaries(records)
    found = [_of(summaries[suite], Column(title, suite, data)) for title, suite, data in _DATA]
    found = [rows[rows["image_cpu_ms"].notna()] for rows in found]
    head = ["one core", *(f"{title}: ms an image, s of training" for title, _, _ in _DATA)]
    return markdown(
        head,
        [
            [
                model,
                *(
                    "{image_cpu_ms:.0f}, {train_cpu_seconds:.0f}".format(**rows.loc[model])
                    if model in rows.index
                    else ""
                    for rows in found
                ),
            ]
            for model in _order([model for rows in found for model in rows.index])
        ],
    )


def ablation(records: Path, suite: str) -> str:
    """Return the table of an ablation: a row for each variant and data set."""
    rows = _summary(records / suite)
    titles = {data: title for title, _, data in _DATA}
    lines = []
    for _, row in rows[rows["category"].isin(titles)].iterrows():
        teacher, variant = row["teacher"].partition(" ")[0], row["model"].removeprefix("ReverseDistillation").strip()
        figures = (_cell(pd.DataFrame([row.rename(0)]), 0, metric) for metric in ("image_AUROC", *_REGIONS))
        lines.append([variant or teacher, titles[row["category"]], *figures])
    return markdown(
        [suite.partition("_")[2], "data", "image AUROC", "pixel AUROC", "PRO, pooled", "PRO, image by image"], lines
    )


def evidence(records: Path) -> str:
    """Return the table of what each kind of evidence adds to the fused model: a row for each that is left out."""
    table = _table(records / "ablation_evidence")
    titles = {(data, images): f"{title}{more}" for title, _, data in _DATA for images, more in _TURNS.items()}
    columns = {
        (title, metric): table[(table["category"] == data) & (table["images"] == images)].set_index("part")[metric]
        for metric in ("image_AUROC", "pixel_AUPRO")
        for (data, images), title in titles.items()
    }
    columns = {key: figures.dropna() for key, figures in columns.items() if figures.notna().any()}
    parts = list(dict.fromkeys(part for figures in columns.values() for part in figures.index))
    return markdown(
        ["evidence", *(title if metric == "image_AUROC" else f"{title}: PRO, pooled" for title, metric in columns)],
        [[part, *(f"{figures[part]:.3f}" for figures in columns.values())] for part in parts],
    )


def draw(records: Path) -> Path | None:
    """Draw image AUROC against the cost of an image and of a training; return the picture's file."""
    summaries = _summaries(records)
    kinds = [_of(summaries[suite], Column(title, suite, data)) for title, suite, data in _DATA]
    kinds = [rows[rows["image_cpu_ms"].notna()] for rows in kinds]
    if not any(map(len, kinds)):
        return None
    mpl.use("agg")
    names = _order([model.removesuffix(_EVENED) for rows in kinds for model in rows.index])
    colours = dict(zip(names, mpl.color_sequences["tab20"], strict=False))
    figure, axes = plt.subplots(2, len(kinds), figsize=(4.2 * len(kinds), 8.6), sharey="col", layout="constrained")
    for (title, _, _), rows, column in zip(_DATA, kinds, axes.T, strict=True):
        for axis, costs, unit in (
            (column[0], rows["image_cpu_ms"], "milliseconds an image"),
            (column[1], rows["train_cpu_seconds"] / 60, "minutes of training"),
        ):
            for model, cost in costs.items():
                name = str(model).removesuffix(_EVENED)
                face = colours[name] if name == model else "none"
                marker = "o" if name.startswith("anomalib.") else "*"
                size = 60 if marker == "o" else 200
                axis.scatter(
                    cost, rows.loc[model, "image_AUROC"], size, facecolors=face, edgecolors=colours[name], marker=marker
                )
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter("")
            axis.margins(0.12)
            axis.grid(visible=True, which="both", alpha=0.25)
            axis.set_xlabel(f"{unit} (one core)")
            axis.set_ylabel("image AUROC")
            axis.set_title(title)
    handles = [
        mpl.lines.Line2D([], [], color=colour, marker="o" if name.startswith("anomalib.") else "*", ls="", label=name)
        for name, colour in colours.items()
    ]
    handles.append(mpl.lines.Line2D([], [], color="gray", marker="o", ls="", mfc="none", label="hollow: light evened"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9)
    file = records / "cost.png"
    with atomic_file(file) as partial:
        figure.savefig(partial, dpi=80, format="png")
    plt.close(figure)
    return file


_EVENED = ", light evened"


def tables(records: Path) -> list[str]:
    """Return all tables of the page, in its order."""
    found = [table(records) for table in (images, regions, kinds, disturbed, costs, classes)]
    others = (ablation(records, suite) for suite in ABLATIONS if suite != "ablation_evidence")
    return [*found, evidence(records), *others]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.accuracy.comparison",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--records", type=Path, default=RESULTS / "accuracy", help="(default: %(default)s)")
    records = parser.parse_args(arguments).records
    print(*tables(records), sep="\n\n")
    print(f"\n{draw(records)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
