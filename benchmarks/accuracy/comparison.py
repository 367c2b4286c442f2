# SPDX-License-Identifier: Apache-2.0
"""Which model finds defects best, on which images, and at what cost: the tables and the picture of a page.

    python -m benchmarks.accuracy.comparison [--records RECORDS]

Nothing is run: it reads the records that ``benchmarks.accuracy`` has left of solar cells, magnetic tiles, boards and
classes, and of the ablations. It prints Markdown tables, and draws ``cost.png`` beside the records.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator

from benchmarks.common.records import RESULTS
from benchmarks.common.tables import Figure, table
from rd_plugin.comparison import area_under_roc
from rd_plugin.storage import atomic_file

from .cells import COSTS
from .measures import METRICS
from .perturbations import PERTURBATIONS, describe
from .report import load, with_means
from .suites import ABLATIONS

__all__ = [
    "ablation",
    "classes",
    "costs",
    "evidence",
    "images",
    "kinds",
    "main",
    "perturbed",
    "places",
    "regions",
    "sizes",
    "tables",
]

_AS_THEY_ARE = describe({})
_TURNED = describe({"turned": "black"})
_FEW = describe({"train_images": 20})
# Each kind of images by its title: the suite of its records, and its category; of classes the data set.
_DATA = {
    "mono": ("solar", "mono"),
    "poly": ("solar", "poly"),
    "tiles": ("folder", "magnetic_tile"),
    "boards": ("folder", "boards"),
}
# Those with masks, as tables call them.
_MASKED = {"tiles": "magnetic tiles", "boards": "circuit boards"}
_QUARTERS = ("smallest quarter", "second", "third", "largest quarter")
_CLASSES = {"digits": "MNIST", "CIFAR-10 subset": "cifar10_subset"}
_CLASS_SIZE = "32 px"
_COLUMNS = (*_DATA, "mono, turned", "tiles, turned", "mono, 20 images", "tiles, 20 images", *_CLASSES)
_REGIONS = {
    "pixel AUROC": Figure("pixel_AUROC"),
    "PRO, pooled": Figure("pixel_AUPRO"),
    "PRO, image by image": Figure("pixel_AUPRO_per_image"),
}
# Pixels from a map's highest value to a defect.
_NEAR = 8
_ARRAYS = ("scores", "labels", "kinds", "areas", "peak_distances")
_NORMALIZED = ", brightness normalized"


def _told_apart(rows: pd.DataFrame) -> pd.DataFrame:
    """Add its length to the name of a model that was trained in several on the same images."""
    lengths = rows.groupby(["model", "title"])["length"].transform("nunique")
    several = rows["model"].isin(rows["model"][lengths > 1])
    # As text, which columns without rows are not.
    longer = rows["model"].astype(str) + ", " + rows["length"].astype(str)
    return rows.assign(model=rows["model"].where(~several, longer))


def _order(rows: pd.DataFrame) -> pd.DataFrame:
    """Sort by model: ours first, each with its variants; then anomalib's."""
    models = rows["model"].astype(str)
    order = pd.DataFrame({"theirs": models.str.startswith("anomalib."), "model": models})
    return rows.loc[order.sort_values(["theirs", "model"], kind="stable").index]


def _load(records: Path, suite: str) -> pd.DataFrame:
    """The rows of a suite with all figures, those that it lacks empty."""
    frame = load(records / f"{suite}.parquet")
    return frame.reindex(columns=list(dict.fromkeys([*frame, *METRICS, *COSTS, *_ARRAYS, "perturbation"])))


def _titled(records: Path) -> pd.DataFrame:
    """Rows of cells and tiles with the title of their images, in its order."""
    suites = {suite: _load(records, suite) for suite, _ in _DATA.values()}
    rows = []
    for title, (suite, category) in _DATA.items():
        frame = suites[suite]
        rows.append(frame[frame["category"] == category].assign(title=title))
    return pd.concat([frame for frame in rows if len(frame)] or rows[:1], ignore_index=True)


def _class_means(records: Path) -> pd.DataFrame:
    """Means over classes of each run on digits and on CIFAR-10, with the title of their images."""
    frame = with_means(_load(records, "one_class"))
    titles = {data: title for title, data in _CLASSES.items()}
    frame = frame[(frame["category"] == "mean") & frame["data"].isin(titles) & (frame["images"] == _AS_THEY_ARE)]
    return _told_apart(frame.assign(title=frame["data"].map(titles)))


def images(records: Path) -> str:
    """Return the table of image AUROC: a row for each model, a column for each kind of images."""
    rows = _titled(records)
    more = rows["images"].map({_AS_THEY_ARE: "", _TURNED: ", turned", _FEW: ", 20 images"})
    rows = _told_apart(rows.assign(title=rows["title"] + more)[more.notna()])
    # Of one class the papers score by the mean of the map.
    classes = _class_means(records)
    classes = classes.assign(image_AUROC=classes["map_mean_AUROC"])[classes["size"] == _CLASS_SIZE]
    rows = pd.concat([frame for frame in (rows, classes) if len(frame)] or [rows], ignore_index=True)
    return table(_order(rows), {"image AUROC": "model"}, {"": Figure("image_AUROC")}, "title", _COLUMNS)


def regions(records: Path, images: str = "tiles") -> str:
    """Return the table of the figures by region, of tiles or boards."""
    rows = _titled(records)
    rows = rows[(rows["title"] == images) & (rows["images"] == _AS_THEY_ARE) & rows["pixel_AUROC"].notna()]
    return table(_order(_told_apart(rows)), {_MASKED[images]: "model"}, _REGIONS)


def perturbed(records: Path) -> str:
    """Return the table of image AUROC as it is, and of the points that each perturbation takes from it.

    Both are of the same runs: those that were tested under perturbations.
    """
    rows = _told_apart(_titled(records)).reset_index(drop=True)
    runs = rows.pivot_table("image_AUROC", ["title", "model", "seed", "draw"], "images", sort=False)
    runs = runs.reindex(columns=[_AS_THEY_ARE, *PERTURBATIONS]).dropna()
    runs[list(PERTURBATIONS)] = 100 * runs[list(PERTURBATIONS)].sub(runs[_AS_THEY_ARE], axis=0)
    changes = {name: Figure(name, digits=1, sign="+", deviation=None) for name in PERTURBATIONS}
    rows = _order(runs.reset_index()).sort_values("title", key=lambda titles: titles.map([*_DATA].index), kind="stable")
    by = {"images": "title", "model": "model"}
    return table(rows, by, {_AS_THEY_ARE: Figure(_AS_THEY_ARE, deviation=None), **changes})


def _one_run(records: Path, images: str, column: str) -> pd.DataFrame:
    """Return the run of each model whose images can be told apart by a column: that of the first seed."""
    rows = _titled(records)
    rows = rows[(rows["title"] == images) & (rows["images"] == _AS_THEY_ARE) & (rows["draw"] == 0)]
    rows = _told_apart(rows[rows[column].notna()]).sort_values("seed", kind="stable").drop_duplicates("model")
    return _order(rows)


def _found(row: pd.Series, chosen: np.ndarray) -> float:
    """Return the AUROC of some of the defective images of a run against all good ones."""
    of = ~row["labels"] | chosen
    return float(area_under_roc(row["scores"][of], row["labels"][of]))


def kinds(records: Path) -> str:
    """Return the table of image AUROC of each kind of defect of the tiles against all good ones, of one run."""
    found = [
        {"model": row["model"], "kind": kind, "AUROC": _found(row, row["kinds"] == kind)}
        for _, row in _one_run(records, "tiles", "kinds").iterrows()
        for kind in sorted(set(row["kinds"][row["labels"]]))
    ]
    frame = pd.DataFrame(found, columns=["model", "kind", "AUROC"])
    return table(frame, {_MASKED["tiles"]: "model"}, {"": Figure("AUROC")}, "kind")


def sizes(records: Path, images: str) -> str:
    """Return the table of image AUROC by the area of the defects, a quarter of them in each column, of one run."""
    found = []
    for _, row in _one_run(records, images, "areas").iterrows():
        limits = np.quantile(row["areas"][row["labels"]], (0.25, 0.5, 0.75))
        of_size = np.searchsorted(limits, row["areas"])
        for index, size in enumerate(_QUARTERS):
            auroc = _found(row, row["labels"] & (of_size == index))
            found.append({"model": row["model"], "size": size, "AUROC": auroc})
    frame = pd.DataFrame(found, columns=["model", "size", "AUROC"])
    return table(frame, {_MASKED[images]: "model"}, {"": Figure("AUROC")}, "size", _QUARTERS)


def places(records: Path) -> str:
    """Return the table of whether maps have their highest value at a defect, of one run.

    A defective image is found if its score is higher than those of 95 % of the good ones.
    """
    found = []
    for images, title in _MASKED.items():
        for _, row in _one_run(records, images, "peak_distances").iterrows():
            threshold = np.quantile(row["scores"][~row["labels"]], 0.95)
            distances = row["peak_distances"][row["labels"] & (row["scores"] > threshold)]
            figures = {"found": len(distances) / row["labels"].sum(), "near": (distances <= _NEAR).mean()}
            found.append({"model": row["model"], "size": row["size"], "images": title} | figures)
    frame = pd.DataFrame(found, columns=["images", "model", "size", "found", "near"])
    figures = {
        "found at 5 % false alarms, %": Figure("found", digits=1, scale=100),
        f"highest value within {_NEAR} pixels of a defect, of those found, %": Figure("near", digits=1, scale=100),
    }
    return table(frame, {"images": "images", "model": "model", "size": "size"}, figures)


def classes(records: Path) -> str:
    """Return the table of one class against the others: image AUROC by the maximum and the mean of the map."""
    rows = _class_means(records)
    rows = rows.sort_values("size", key=lambda sizes: sizes.str.split().str[0].astype(int), kind="stable")
    metrics = {"by maximum": Figure("map_max_AUROC"), "by mean": Figure("map_mean_AUROC")}
    return table(_order(rows), {"image AUROC": "model", "size": "size"}, metrics, "title", tuple(_CLASSES))


def _timed(records: Path) -> pd.DataFrame:
    """Rows of images as they are, of the runs that were timed."""
    rows = _titled(records)
    return _order(_told_apart(rows[(rows["images"] == _AS_THEY_ARE) & rows["image_cpu_ms"].notna()]))


def costs(records: Path) -> str:
    """Return the table of what an image and a training cost one core, of the runs that were timed."""
    figures = {
        "ms an image": Figure("image_cpu_ms", 0, deviation=None),
        "s of training": Figure("train_cpu_seconds", 0, deviation=None),
    }
    return table(_timed(records), {"one core": "model"}, figures, "title", tuple(_DATA))


def ablation(records: Path, suite: str) -> str:
    """Return the table of an ablation: a row for each variant and data set."""
    rows = _load(records, suite)
    titles = {category: title for title, (_, category) in _DATA.items()}
    rows = rows[rows["category"].isin(titles)]
    variant = rows["model"].str.removeprefix("ReverseDistillation").str.strip()
    variant = variant.where(variant != "", rows["teacher"].str.partition(" ")[0]) if len(rows) else variant
    rows = rows.assign(variant=variant, title=rows["category"].map(titles))
    rows = rows.sort_values("title", key=lambda names: names.map([*_DATA].index), kind="stable")
    by = {suite.partition("_")[2]: "variant", "data": "title"}
    return table(rows, by, {"image AUROC": Figure("image_AUROC"), **_REGIONS})


def evidence(records: Path) -> str:
    """Return the table of what each kind of evidence adds to the fused model: a row for each that is left out."""
    rows = _load(records, "ablation_evidence")
    titles = {category: title for title, (_, category) in _DATA.items()}
    more = rows["images"].map({_AS_THEY_ARE: "", _TURNED: ", turned"})
    rows = rows.assign(title=rows["category"].map(titles) + more)
    rows = rows[rows["title"].notna()]
    order = [title + more for title in _DATA for more in ("", ", turned")]
    order = [title for title in order if title in set(rows["title"])]
    by_region = rows[rows["pixel_AUPRO"].notna()].assign(column="title").copy()
    by_region = by_region.assign(title=by_region["title"] + ": PRO, pooled", image_AUROC=by_region["pixel_AUPRO"])
    order += [title for title in (f"{title}: PRO, pooled" for title in order) if title in set(by_region["title"])]
    both = pd.concat([frame for frame in (rows, by_region) if len(frame)] or [rows], ignore_index=True)
    return table(both, {"evidence": "part"}, {"": Figure("image_AUROC")}, "title", order)


def draw(records: Path) -> Path | None:
    """Draw image AUROC against the cost of an image and of a training; return the picture's file."""
    timed = _timed(records)
    if timed.empty:
        return None
    figures = ["image_cpu_ms", "train_cpu_seconds", "image_AUROC"]
    means = timed.groupby(["title", "model"], sort=False)[figures].mean().reset_index("model")
    titles = [title for title in _DATA if title in means.index]
    mpl.use("agg")
    names = list(dict.fromkeys(model.removesuffix(_NORMALIZED) for model in means["model"]))
    colours = dict(zip(names, mpl.color_sequences["tab20"], strict=False))
    size = (4.2 * len(titles), 8.6)
    figure, axes = plt.subplots(2, len(titles), figsize=size, sharey="col", layout="constrained", squeeze=False)
    for title, column in zip(titles, axes.T, strict=True):
        for axis, cost, scale, unit in (
            (column[0], "image_cpu_ms", 1, "milliseconds an image"),
            (column[1], "train_cpu_seconds", 60, "minutes of training"),
        ):
            for row in means.loc[[title]].itertuples():
                name = row.model.removesuffix(_NORMALIZED)
                face = colours[name] if name == row.model else "none"
                marker, area = ("o", 60) if name.startswith("anomalib.") else ("*", 200)
                x = getattr(row, cost) / scale
                axis.scatter(x, row.image_AUROC, area, facecolors=face, edgecolors=colours[name], marker=marker)
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
    hollow = {"color": "gray", "marker": "o", "ls": "", "mfc": "none", "label": "hollow: brightness normalized"}
    handles.append(mpl.lines.Line2D([], [], **hollow))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9)
    file = records / "cost.png"
    with atomic_file(file) as partial:
        figure.savefig(partial, dpi=80, format="png")
    plt.close(figure)
    return file


def tables(records: Path) -> list[str]:
    """Return all tables of the page, in its order."""
    found = [images(records), *(regions(records, name) for name in _MASKED), kinds(records)]
    found += [*(sizes(records, name) for name in _MASKED), places(records), perturbed(records)]
    found += [costs(records), classes(records)]
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
