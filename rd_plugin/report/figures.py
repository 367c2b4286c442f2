# SPDX-License-Identifier: Apache-2.0
"""A report's drawings: the histogram of scores, the ROC and the precision-recall curve.

They are drawn once, as SVG; elements that depend on the threshold have an ``id``, and the page moves them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Drawing", "draw_costs", "draw_curves", "draw_histogram"]

GOOD, DEFECT, UNKNOWN = "#1f6fb4", "#d95f02", "#4b5563"
_INK = "#111827"
_BINS = 50
# As many vertices as the eye can distinguish.
_VERTICES = 500

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rd-plugin",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#6b7280",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "figure.dpi": 72,
}


@dataclass(frozen=True)
class Drawing:
    """A drawing.

    Args:
        svg: The ``svg`` element.
        width: Its width in its own units.
        left: Left end of its axes, in those units.
        right: Right end of its axes.
        top: Upper end of its axes.
        bottom: Lower end of its axes.
        figure: The number that the drawing shows, such as the area under its curve.
    """

    svg: str
    width: float
    left: float
    right: float
    top: float
    bottom: float
    figure: float | None = None

    @property
    def place(self) -> dict[str, float]:
        """The position of the axes, for the page."""
        return {name: round(getattr(self, name), 3) for name in ("left", "right", "top", "bottom")}


def draw_histogram(
    scores: Sequence[float],
    defective: Sequence[bool | None],
    low: float,
    high: float,
    counts: Sequence[int] | None = None,
) -> Drawing:
    """Draw the histogram of scores, with good images and defects stacked if the truth is known.

    Args:
        scores: Scores, all finite.
        defective: For each, whether its image has a defect; ``None`` if that is unknown.
        low: Lower end of the axis.
        high: Upper end of the axis.
        counts: How many images have each score, if the truth is unknown; one by default.
    """
    kinds = {None: ("images", UNKNOWN), False: ("good images", GOOD), True: ("defects", DEFECT)}
    values = np.asarray(scores)
    shown = [kind for kind in kinds if kind in set(defective)] or [None]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 1.0 + 1.3 * len(shown)))
        axes: list[Axes] = list(figure.subplots(len(shown), sharex=True, squeeze=False)[:, 0])
        figure.subplots_adjust(left=0.09, right=0.98, top=0.93, bottom=0.55 / figure.get_figheight(), hspace=0.28)
        for axis, kind in zip(axes, shown, strict=True):
            name, colour = kinds[kind]
            chosen = np.asarray([entry is kind for entry in defective], dtype=bool)
            shares = {"x": values[chosen]} if counts is None else {"x": values, "weights": counts}
            axis.hist(**shares, bins=_BINS, range=(low, high), color=colour)
            axis.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            axis.set_xlim(low, high)
            axis.set_title(name, loc="left", color=colour, fontsize=9, fontweight="bold", pad=3)
        axes[-1].set_xlabel("anomaly score")
        top, bottom = axes[0].get_position().y1, axes[-1].get_position().y0
        left = axes[0].get_position().x0
        line = Line2D([left, left], [bottom, top], color=_INK, linewidth=1.2, gid="histogram-threshold")
        figure.add_artist(line)
        return _drawing(figure, axes)


def draw_curves(scores: Sequence[float], defective: Sequence[bool]) -> dict[str, Drawing]:
    """Draw the ROC and the precision-recall curve.

    Args:
        scores: Scores, all finite.
        defective: For each, whether its image has a defect; both values must occur.

    Returns:
        ``"roc"`` with the area under the curve, ``"precision"`` with the average precision.
    """
    # Reports of images whose truth is unknown have no curves, and a station has no torch.
    import torch
    from torchmetrics.functional.classification import (
        binary_auroc,
        binary_average_precision,
        binary_precision_recall_curve,
        binary_roc,
    )

    found, truth = torch.tensor(scores, dtype=torch.float64), torch.tensor(defective, dtype=torch.int64)
    # Only ranks matter, and torchmetrics would treat values outside of [0, 1] as logits.
    ranks = torch.unique(found, return_inverse=True)[1].double()
    ranks /= max(float(ranks.max()), 1.0)
    false, true, _ = binary_roc(ranks, truth)
    precision, recall, _ = binary_precision_recall_curve(ranks, truth)
    auroc, average = float(binary_auroc(ranks, truth)), float(binary_average_precision(ranks, truth))
    return {
        "roc": _curve("roc", false, true, ("false-alarm rate", "detection rate"), auroc),
        "precision": _curve("precision", recall, precision, ("detection rate (recall)", "precision"), average),
    }


def draw_costs(models: Mapping[str, tuple[float, float, float, float]]) -> Drawing:
    """Draw the accuracy of models against what an image costs.

    Args:
        models: By name: milliseconds an image; AUROC, and the lower and upper bound of its interval.
    """
    with mpl.rc_context(_STYLE):
        canvas = Figure(figsize=(6.4, 3.6))
        axis = canvas.subplots()
        canvas.subplots_adjust(left=0.11, right=0.97, top=0.95, bottom=0.14)
        for name, (cost, value, low, high) in models.items():
            colour = DEFECT if name.startswith("anomalib.") else GOOD
            axis.plot([cost, cost], [low, high], color=colour, linewidth=1.2, alpha=0.6)
            axis.plot([cost], [value], "o", color=colour, markersize=7)
            # Names are text, and not matplotlib's formulas.
            axis.annotate(
                name.replace("$", r"\$"), (cost, value), (7, 5), textcoords="offset points", fontsize=8, color=_INK
            )
        axis.set_xscale("log")
        axis.margins(x=0.35, y=0.12)
        axis.set(xlabel="milliseconds an image (one core)", ylabel="image AUROC, with its 95 % interval")
        return _drawing(canvas, [axis])


def _curve(name: str, x: "Tensor", y: "Tensor", labels: tuple[str, str], figure: float) -> Drawing:
    """One curve in the unit square, with a marker at its origin."""
    few = np.unique(np.linspace(0, len(x) - 1, _VERTICES).astype(int))
    with mpl.rc_context(_STYLE):
        canvas = Figure(figsize=(3.1, 2.9))
        axis = canvas.subplots()
        canvas.subplots_adjust(left=0.17, right=0.96, top=0.96, bottom=0.16)
        axis.plot(x[few], y[few], color=GOOD, linewidth=1.6)
        axis.set(xlim=(0, 1), ylim=(0, 1.005), xlabel=labels[0], ylabel=labels[1])
        axis.plot([0], [0], "o", color=DEFECT, markersize=7, clip_on=False, gid=f"{name}-point", zorder=5)
        return _drawing(canvas, [axis], figure)


def _drawing(figure: Figure, axes: Sequence[Axes], value: float | None = None) -> Drawing:
    """A figure as an ``svg`` element of flexible width."""
    text = StringIO()
    metadata: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(text, format="svg", metadata=metadata, transparent=True)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    # matplotlib's numbered ids would be duplicated in a page with two drawings; nothing refers to them.
    svg = re.sub(r' id="[a-zA-Z0-9.]+_\d+"', "", svg)
    svg = re.sub(r'^<svg ([^>]*?)\s*width="[\d.]+pt" height="[\d.]+pt"', r"<svg \1", re.sub(r"\s+", " ", svg))
    width, height = (72 * inches for inches in figure.get_size_inches())
    first, last = axes[0].get_position(), axes[-1].get_position()
    return Drawing(
        svg,
        width=float(width),
        left=float(width * first.x0),
        right=float(width * first.x1),
        top=float(height * (1 - first.y1)),
        bottom=float(height * (1 - last.y0)),
        figure=value,
    )
