"""Figures of the report as inline SVG that follows the page's light or dark colours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mmidd.evaluation.metrics import Floats, rank, sweep
from mmidd.evaluation.results import Bin
from mmidd.schema import ForgeryType

REAL, FAKE = "#2a86d1", "#d9652b"
"""Colours of the two classes; readable on white and on black."""

_CROWDED = 4  # curves, above which their names stand below the axes
_INK = "#010203"  # stands for the page's text colour until the SVG is written
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


def roc(curves: Mapping[str, tuple[NDArray[np.int8], Floats]]) -> str:
    """ROC curves by name from (labels, scores)."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=_INK, alpha=0.35, linewidth=1, linestyle=":")
        for name, (labels, scores) in curves.items():
            curve = sweep(rank(labels, scores))
            axes.plot(curve.fpr[0], curve.tpr[0], label=name)
        axes.set(xlabel="reals called fake (FPR)", ylabel="fakes found (TPR)", aspect="equal")
        axes.legend(loc="lower right")

    return _svg("roc", draw, (4.6, 4.2))


def histogram(labels: NDArray[np.int8], scores: Floats, threshold: float, unit: str) -> str:
    """Scores of reals and fakes in 25 bins, with the decision threshold."""

    def draw(axes: Axes) -> None:
        bins = np.linspace(0, 1, 26)
        for value, name, colour in ((0, "real", REAL), (1, "fake", FAKE)):
            axes.hist(scores[labels == value], bins=bins.tolist(), color=colour, alpha=0.6, label=name)
        axes.axvline(threshold, color=_INK, linewidth=1, linestyle="--", label=f"threshold {threshold:.3f}")
        axes.set(xlabel="P(fake)", ylabel=unit, xlim=(0, 1))
        axes.legend()

    return _svg(f"histogram-{unit}", draw, (4.6, 3.2))


def reliability(bins: Mapping[str, Sequence[Bin]]) -> str:
    """Share of fakes over mean P(fake) of the bins that hold items, by name; areas grow with their number."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=_INK, alpha=0.35, linewidth=1, linestyle=":")
        for name, every in bins.items():
            known = [(one.score, one.fake, one.items) for one in every if one.items]
            x, y, items = np.array(known, np.float64).T
            (line,) = axes.plot(x, y, linewidth=1, alpha=0.35)
            axes.scatter(x, y, 8 + 72 * items / items.max(), color=line.get_color(), label=name)
        axes.set(xlabel="P(fake)", ylabel="share that is fake", aspect="equal")
        axes.legend(loc="upper left")

    return _svg("reliability", draw, (4.6, 4.2))


def confusion(counts: Sequence[Sequence[int]]) -> str:
    """Type confusion, rows are the truth; shades are shares of a row, types never seen are left out."""
    matrix = np.asarray(counts)
    true = np.flatnonzero(matrix.sum(axis=1))
    names = [kind.value for kind in ForgeryType]

    def draw(axes: Axes) -> None:
        part = matrix[true]
        shares = part / part.sum(axis=1, keepdims=True)
        columns, rows = np.arange(len(names) + 1) - 0.5, np.arange(len(true) + 1) - 0.5
        axes.pcolormesh(columns, rows, shares, cmap="Blues", vmin=0, vmax=1)
        axes.invert_yaxis()
        for (row, column), share in np.ndenumerate(shares):
            colour = "white" if share > 0.6 else "#10243a"
            axes.text(
                column, row, f"{share:.0%}\n{part[row, column]}", ha="center", va="center", color=colour
            )
        axes.set_xticks(range(len(names)), names)
        axes.set_yticks(range(len(true)), [names[index] for index in true])
        axes.set(xlabel="predicted type", ylabel="true type")

    return _svg("confusion", draw, (4.6, 0.9 + 0.62 * len(true)))


def lines(name: str, series: Mapping[str, tuple[list[float], list[float]]], ylabel: str) -> str:
    """Curves over training steps."""

    def draw(axes: Axes) -> None:
        for label, (steps, values) in series.items():
            axes.plot(steps, values, label=label, marker="o" if len(steps) < 40 else "", markersize=3)
        axes.set(xlabel="step", ylabel=ylabel)
        if crowded:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncol=3, fontsize="small")
        else:
            axes.legend()

    crowded = len(series) > _CROWDED
    return _svg(f"lines-{name}", draw, (4.6, 4.1 if crowded else 3.2))


def _svg(salt: str, draw: Callable[[Axes], None], size: tuple[float, float]) -> str:
    """Draw into an SVG element without a background, an identity of its own, or any address."""
    with mpl.rc_context(_STYLE | {"svg.hashsalt": salt}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        out = StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\s*xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{salt}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{salt}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{salt}-\1)", text)
    return text.replace(_INK, "currentColor")
