"""Puts the tables of `results/ablation.json` into docs/ablation.md, and draws the figure.

A table stands between the comments `<!-- NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.ablation import interval

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks/results/ablation.json", ROOT / "docs/ablation.md"
FIGURE = ROOT / "docs/images/ablation.png"
KINDS = {"all": "all", "FS": "FS, swap", "FR": "FR, expression", "FE": "FE, retouch", "EFS": "EFS, morph"}
STARTS = {"random": "from random weights", "captions": "from captions"}
SEEDS, PEOPLE = "#1f4e79", "#c9d6e3"
Table = dict[str, dict[str, Any]]


def main() -> None:
    """Fill the page and draw the figure."""
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    tables = {start: markdown(found[start]) for start in STARTS} | {"changes": changes(found["random"])}
    for name, table in tables.items():
        text = re.sub(
            f"(<!-- {name} -->\n).*?(<!-- end -->)", rf"\g<1>\n{table}\n\n\2", text, flags=re.DOTALL
        )
    PAGE.write_text(text, encoding="utf-8")
    figure({start: found[start] for start in STARTS}, FIGURE)


def markdown(table: Table) -> str:
    """A row for each arm: the validation split's mean, then mean over seeds and half of its interval."""
    lines = [f"| | seeds | validation | {' | '.join(KINDS.values())} |", "|---" * (len(KINDS) + 3) + "|"]
    for name, row in table.items():
        own, seeds = row["validation"], len(row["validation"])
        cells = [spread(row[kind]["seeds"]) for kind in KINDS]
        lines.append(f"| {' | '.join([name, str(seeds), short(statistics.mean(own)), *cells])} |")
    return "\n".join(lines)


def changes(table: Table) -> str:
    """What sd2 loses without a part, seed by seed."""
    whole = table["sd2"]
    lines = [f"| without | {' | '.join(KINDS.values())} |", "|---" * (len(KINDS) + 1) + "|"]
    for name, row in table.items():
        if not name.startswith("sd2 without "):
            continue
        cells = []
        for kind in KINDS:
            both = zip(row[kind]["seeds"], whole[kind]["seeds"], strict=False)
            cells.append(spread([mine - theirs for mine, theirs in both]))
        lines.append(f"| {' | '.join([name.removeprefix('sd2 without '), *cells])} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Mean and half of its 95 % interval over seeds; alone where there is one seed."""
    found = interval(values)
    return short(found["mean"]) + (f" ± {short(found['half_width'])}" if len(values) > 1 else "")


def short(value: float) -> str:
    """Two decimals without the zero before them."""
    text = f"{round(value, 2) + 0.0:.2f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def figure(tables: dict[str, Table], path: Path) -> None:
    """A panel for each type and start: dots of the seeds, their mean, and the interval over people."""
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    heights = [len(table) for table in tables.values()]
    fig, panels = plt.subplots(
        len(tables),
        len(KINDS),
        figsize=(12, 0.27 * sum(heights) + 1.8),
        sharex=True,
        sharey="row",
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )
    for line, (start, table) in zip(panels, tables.items(), strict=True):
        for panel, kind in zip(line, KINDS, strict=True):
            _rows(panel, table, kind)
        line[0].set_ylabel(STARTS[start])
        line[0].set_yticks(range(len(table)), list(table))
        line[0].invert_yaxis()
    for panel, title in zip(panels[0], KINDS.values(), strict=True):
        panel.set_title(title)
    panels[0, 0].set_xlim(0.28, 1.0)
    fig.supxlabel(
        "video AUC on people not seen in training: each seed (dots), their mean (line), "
        "95 % interval over people (band); .5 is chance",
        fontsize=9,
    )
    fig.align_ylabels()
    fig.tight_layout()
    fig.savefig(path, dpi=110)


def _rows(panel: Axes, table: Table, kind: str) -> None:
    panel.axvline(0.5, color="0.75", lw=0.8, zorder=0)
    for y, row in enumerate(table.values()):
        low, high = row[kind]["people"]
        panel.barh(y, high - low, left=low, height=0.62, color=PEOPLE)
        panel.vlines(row[kind]["mean"], y - 0.31, y + 0.31, color=SEEDS, lw=1.6)
        panel.scatter(row[kind]["seeds"], [y] * len(row[kind]["seeds"]), s=9, color=SEEDS, zorder=3)
    panel.tick_params(axis="y", length=0)


if __name__ == "__main__":
    main()
