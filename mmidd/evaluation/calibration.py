"""Whether P(fake) means what it says: how often items of a score are fake."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mmidd.evaluation.measuring import Terms, measure_sums
from mmidd.evaluation.metrics import Floats, ratio
from mmidd.evaluation.protocol import Level
from mmidd.evaluation.results import Bin, Calibration
from mmidd.evaluation.tables import items

BINS = 15
"""As in Guo et al. 2017 (arXiv 1706.04599)."""


def measure_calibration(chosen: pl.DataFrame, terms: Terms) -> tuple[Calibration, ...]:
    """Of the rows of one split, of videos and of frames.

    `ece` is the mean over items of |mean P(fake) - share of fakes| of their bin, in `BINS` bins of equal
    width; `adaptive_ece` the same in bins of equal number, where equal scores share a bin (Nixon et al. 2019,
    arXiv 1904.01685); `brier` the mean of (P(fake) - label)^2.

    Raises:
        DataError: a video holds real and fake frames.
    """
    tables = {level: items(chosen, level, terms.aggregation) for level in (Level.VIDEO, Level.FRAME)}
    return tuple(_measured(level, table, terms) for level, table in tables.items())


def equal_width() -> Floats:
    """Edges of bins of equal width, (BINS + 1,)."""
    return np.linspace(0, 1, BINS + 1)


def equal_number(scores: Floats) -> Floats:
    """Edges of bins that hold as many of the scores each, as far as equal ones allow, (BINS + 1,)."""
    edges: Floats = np.quantile(scores, equal_width())
    return edges


def reliability(labels: NDArray[np.number], scores: Floats) -> tuple[Bin, ...]:
    """Bins of equal width of labels (N,), 1 fake, and P(fake) (N,)."""
    edges = equal_width()
    place = _places(scores, edges)
    counts, chances, fakes = (
        np.bincount(place, weights=weights, minlength=BINS) for weights in (None, scores, labels)
    )
    rows = zip(edges[:-1], edges[1:], counts, chances, fakes, strict=True)
    return tuple(
        Bin(
            low=low,
            high=high,
            items=int(count),
            score=chance / count if count else None,
            fake=fake / count if count else None,
        )
        for low, high, count, chance, fake in rows
    )


def _measured(level: Level, table: pl.DataFrame, terms: Terms) -> Calibration:
    labels, scores = table["label"].to_numpy(), table["score"].to_numpy()
    excess = scores - labels
    parts = [_in_bins(excess, _places(scores, edges)) for edges in (equal_width(), equal_number(scores))]
    values = np.column_stack([*parts, excess**2, np.ones(len(excess))])
    measures = measure_sums("all", f"{level}s", values, table["cluster"], _statistic, terms)
    return Calibration(level=level, measures=measures, bins=reliability(labels, scores))


def _places(scores: Floats, edges: Floats) -> NDArray[np.intp]:
    return np.searchsorted(edges[1:-1], scores, side="right")


def _in_bins(excess: Floats, place: NDArray[np.intp]) -> Floats:
    """(N, BINS), each row's value in the column of its bin."""
    columns = np.zeros((len(excess), BINS))
    columns[np.arange(len(excess)), place] = excess
    return columns


def _statistic(sums: Floats) -> dict[str, Floats]:
    count = sums[:, -1]
    ece, adaptive = (np.abs(part).sum(axis=1) for part in (sums[:, :BINS], sums[:, BINS : 2 * BINS]))
    return {
        "ece": ratio(ece, count),
        "adaptive_ece": ratio(adaptive, count),
        "brier": ratio(sums[:, -2], count),
    }
