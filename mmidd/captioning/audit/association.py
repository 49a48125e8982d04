"""What attributes tell about label and source: the shortcuts that dual contrast is meant to expose.

Cramér's V with the bias correction of Bergsma, "A bias-correction for Cramér's V and Tschuprow's T", Journal
of the Korean Statistical Society 42 (2013) 323-328. It is computed over one caption per video, because the
frames of a video would be counted as if they were independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2_contingency

from mmidd.audit.rows import Severity
from mmidd.captioning.audit.rows import VIDEO, Captioned, Findings, Kind, finding_rows

SHORTCUT = {"label": 0.1, "source": 0.3}
"""From which V on an association is a warning, where it is significant at 0.05 after Bonferroni."""

SIGNIFICANT = 0.05

TABLE = {
    "attribute": pl.String(),
    "with": pl.String(),
    "v": pl.Float64(),
    "p": pl.Float64(),
    "n": pl.Int64(),
    "values": pl.Int64(),
    "telling": pl.String(),
}


@dataclass(frozen=True)
class Association:
    """Corrected Cramér's V, and the chi-squared test of independence with its p-value."""

    v: float
    chi2: float
    p: float


def cramers_v(counts: ArrayLike) -> Association | None:
    """The association of a table of counts (r, k); None where a side has fewer than two values."""
    observed = np.asarray(counts, dtype=np.float64)
    observed = observed[observed.any(axis=1)][:, observed.any(axis=0)]
    n, (r, k) = observed.sum(), observed.shape
    if min(r, k) < 2:
        return None
    test = chi2_contingency(observed, correction=False)
    excess = max(0.0, test.statistic / n - (r - 1) * (k - 1) / (n - 1))
    smaller = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    v = float(np.sqrt(excess / smaller)) if smaller > 0 else 0.0
    return Association(min(v, 1.0), float(test.statistic), float(test.pvalue))


def one_per_video(captioned: Captioned) -> pl.DataFrame:
    """The first caption of every video by `sample_id`."""
    return captioned.rows.sort("sample_id").unique(VIDEO, keep="first", maintain_order=True)


def associations(captioned: Captioned, categories: pl.DataFrame) -> tuple[list[Findings], pl.DataFrame]:
    """The association of every attribute with label and source, by V; the notable ones are findings."""
    rows = one_per_video(captioned).select("sample_id", *SHORTCUT).join(categories, on="sample_id")
    table = [
        {"attribute": name, "with": other, **_association(rows, name, other)}
        for name in categories.columns
        for other in SHORTCUT
        if name != "sample_id"
    ]
    by_v = pl.DataFrame(table, schema=TABLE).sort(
        "v", "attribute", "with", descending=[True, False, False], nulls_last=True
    )
    floor = pl.col("with").replace_strict(SHORTCUT, return_dtype=pl.Float64)
    tests = max(1, by_v["p"].count())
    notable = by_v.filter((pl.col("v") >= floor) & (pl.col("p") * tests < SIGNIFICANT)).with_columns(
        value="v",
        detail=pl.format("{} tells the {}: {} (n {})", "attribute", "with", "telling", "n"),
    )
    return [finding_rows(notable, Kind.ASSOCIATION, pl.col("with"), Severity.WARNING)], by_v


def _association(rows: pl.DataFrame, name: str, other: str) -> dict[str, object]:
    known = rows.select(value=name, other=other).drop_nulls()
    tallied = known.group_by("value", "other").len().sort("value", "other")
    table = tallied.pivot("other", index="value", values="len", sort_columns=True).fill_null(0)
    counts = table.drop("value").to_numpy()
    found = cramers_v(counts) if known.height else None
    whole: dict[str, object] = {"n": known.height, "values": table.height}
    if found is None:
        return whole
    return whole | {"v": found.v, "p": found.p, "telling": _telling(counts, table)}


def _telling(counts: NDArray[np.int64], table: pl.DataFrame) -> str:
    """The cell that exceeds independence most, by its Pearson residual."""
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    row, column = divmod(int(((counts - expected) / np.sqrt(expected)).argmax()), counts.shape[1])
    said, other = table["value"][row], table.columns[1 + column]
    return f"{said} with {other} {counts[row, column]:,} times, {expected[row, column]:,.0f} by chance"
