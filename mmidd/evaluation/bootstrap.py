"""Bootstrap intervals clustered by identity or video: frames of one video are not independent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mmidd.evaluation.metrics import Curves, Floats, rank, sweep

REPLICATES = 1000
LEVEL = 0.95

_CHUNK = 2**22  # weights held at once: 32 MiB

Statistic = Callable[[Curves], dict[str, Floats]]


def clustered_bootstrap(
    labels: ArrayLike,
    scores: ArrayLike,
    clusters: Sequence[str] | NDArray[np.str_],
    statistic: Statistic,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Floats]:
    """Values of a statistic on replicates made by drawing whole clusters with replacement.

    Args:
        labels: 0 real, 1 fake (N,).
        scores: P(fake) (N,).
        clusters: cluster of each item (N,).
        statistic: maps curves of B weight rows to named values (B,).
        replicates: number of replicates R.
        seed: the only source of randomness.

    Returns:
        Each named value as (R,), NaN in replicates that drew a single class.
    """
    _, member = np.unique(np.asarray(clusters), return_inverse=True)
    ranking = rank(labels, scores)
    parts = [
        statistic(sweep(ranking, counts[:, member]))
        for counts in _draws(int(member.max()) + 1, replicates, max(1, _CHUNK // len(member)), seed)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def resampled_sums(
    values: Floats,
    clusters: Sequence[str] | NDArray[np.str_],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Floats:
    """Sums (R, K) of the values (N, K) over replicates made by drawing whole clusters with replacement."""
    _, member = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.zeros((int(member.max()) + 1, values.shape[1]))
    np.add.at(sums, member, values)
    draws = _draws(len(sums), replicates, max(1, _CHUNK // len(sums)), seed)
    return np.concatenate([counts @ sums for counts in draws])


def interval(replicates: Floats, level: float = LEVEL) -> tuple[float, float]:
    """Percentile interval over the defined replicates; NaN where none is."""
    defined = replicates[~np.isnan(replicates)]
    if not len(defined):
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def _draws(clusters: int, replicates: int, chunk: int, seed: int) -> Iterator[Floats]:
    """How often each cluster was drawn, (<= chunk, clusters) at a time; independent of `chunk`."""
    rng = np.random.default_rng(seed)
    for start in range(0, replicates, chunk):
        rows = min(chunk, replicates - start)
        picks = [rng.integers(clusters, size=clusters) for _ in range(rows)]
        yield np.stack([np.bincount(pick, minlength=clusters) for pick in picks]).astype(np.float64)
