"""Scores and sums to estimates with intervals clustered by identity or video."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from mmidd.evaluation.bootstrap import REPLICATES, clustered_bootstrap, interval, resampled_sums
from mmidd.evaluation.metrics import METRICS, Floats, auc, measure, rank, sweep
from mmidd.evaluation.protocol import Aggregation, Level, Protocol
from mmidd.evaluation.results import Estimate, Measures, Result, Threshold
from mmidd.evaluation.tables import Group, GroupKind, groups, items
from mmidd.schema import Split
from mmidd.spec import PreprocessSpec

FEW_CLUSTERS = 10
"""Below so many clusters of a class an interval is called rough."""

Statistic = Callable[[Floats], dict[str, Floats]]


@dataclass(frozen=True)
class Terms:
    """What every number of an evaluation has in common; see `Protocol`."""

    split: Split
    spec: PreprocessSpec
    aggregation: Aggregation = Aggregation.MEAN
    replicates: int = REPLICATES
    seed: int = 0

    def protocol(self, level: Level, threshold: Threshold, compression: str) -> Protocol:
        """Of the numbers at a level."""
        return Protocol(
            level=level,
            aggregation=self.aggregation,
            frames=self.spec.frames,
            spec_id=self.spec.spec_id,
            compression=compression,
            split=self.split,
            threshold_rule=threshold.rule,
        )


def measure_scores(chosen: pl.DataFrame, terms: Terms, threshold: Threshold) -> tuple[Result, ...]:
    """All metrics of the rows of one split, by level and group, video level first.

    Raises:
        DataError: a video holds real and fake frames.
    """
    return tuple(
        measure_group(
            group,
            terms.protocol(level, threshold, _compressions(chosen)),
            threshold.at(level),
            terms.replicates,
            terms.seed,
        )
        for level in (Level.VIDEO, Level.FRAME)
        for group in groups(items(chosen, level, terms.aggregation))
    )


def measure_group(group: Group, protocol: Protocol, threshold: float, replicates: int, seed: int) -> Result:
    """All metrics of a group, with intervals clustered by identity or video."""
    labels, scores = group.items["label"].to_numpy(), group.items["score"].to_numpy()
    clusters = group.items["cluster"].to_numpy()
    reals, fakes = int((labels == 0).sum()), int((labels == 1).sum())
    metrics = {name: Estimate(value=None, low=None, high=None) for name in METRICS}
    if reals and fakes:
        point = measure(sweep(rank(labels, scores)), threshold)
        spread = clustered_bootstrap(
            labels,
            scores,
            clusters,
            lambda curves: measure(curves, threshold),
            replicates=replicates,
            seed=seed,
        )
        metrics = {name: _estimate(float(point[name][0]), interval(spread[name])) for name in METRICS}
    return Result(
        protocol=protocol,
        kind=group.kind,
        name=group.name,
        reals=reals,
        fakes=fakes,
        clusters=group.items["cluster"].n_unique(),
        metrics=metrics,
        note=_note(group, reals, fakes),
    )


def measure_auc(table: pl.DataFrame, replicates: int, seed: int = 0) -> Estimate:
    """Area under the ROC curve of items (see `tables.items`), undefined where a class is missing."""
    labels, scores = table["label"].to_numpy(), table["score"].to_numpy()
    spread = clustered_bootstrap(
        labels,
        scores,
        table["cluster"].to_numpy(),
        lambda curves: {"auc": auc(curves)},
        replicates=replicates,
        seed=seed,
    )
    return _estimate(float(auc(sweep(rank(labels, scores)))[0]), interval(spread["auc"]))


def measure_sums(
    kind: GroupKind, name: str, values: Floats, clusters: pl.Series, statistic: Statistic, terms: Terms
) -> Measures:
    """What follows from sums over samples, with intervals.

    Args:
        kind: of the group.
        name: of the group.
        values: of each sample (N, K), N >= 1.
        clusters: of the samples (N,).
        statistic: maps sums (B, K) to named values (B,), NaN where undefined.
        terms: of the evaluation.
    """
    point = statistic(values.sum(axis=0, keepdims=True))
    sums = resampled_sums(values, clusters.to_numpy(), replicates=terms.replicates, seed=terms.seed)
    spread, count = statistic(sums), clusters.n_unique()
    return Measures(
        kind=kind,
        name=name,
        items=len(values),
        clusters=count,
        metrics={key: _estimate(float(point[key][0]), interval(spread[key])) for key in point},
        note=f"rough interval: only {count} identities or videos" if count < FEW_CLUSTERS else "",
    )


def _estimate(value: float, bounds: tuple[float, float]) -> Estimate:
    low, high = bounds
    return Estimate(value=_defined(value), low=_defined(low), high=_defined(high))


def _defined(value: float) -> float | None:
    return None if value != value else value


def _note(group: Group, reals: int, fakes: int) -> str:
    notes = [group.note]
    if not (reals and fakes):
        notes.append(f"undefined: no {'fakes' if reals else 'reals'}")
    else:
        fewest = group.items.group_by("label").agg(pl.col("cluster").n_unique())["cluster"].min()
        if isinstance(fewest, int) and fewest < FEW_CLUSTERS:
            notes.append(f"rough interval: a class has only {fewest} identities or videos")
    return "; ".join(note for note in notes if note)


def _compressions(scores: pl.DataFrame) -> str:
    named = sorted(scores["compression"].drop_nulls().unique())
    unstated = ["unstated"] if scores["compression"].null_count() else []
    return "+".join([*named, *unstated])
