"""The decision threshold of a run: fitted on validation data, never on what is reported."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from mmidd.evaluation.metrics import fit_threshold
from mmidd.evaluation.protocol import Aggregation, Level, ThresholdRule
from mmidd.evaluation.results import FIXED_THRESHOLD, THRESHOLD_FILE, Threshold, load_threshold, save
from mmidd.evaluation.tables import items, of_split
from mmidd.schema import Split


def fit(
    scores: pl.DataFrame, dataset: str, aggregation: Aggregation, rule: ThresholdRule
) -> Threshold | None:
    """Thresholds of the validation rows at both levels; None unless both classes are there."""
    val = of_split(scores, Split.VAL)
    if rule is ThresholdRule.FIXED or val["label"].n_unique() < 2:
        return None
    videos, frames = (items(val, level, aggregation) for level in (Level.VIDEO, Level.FRAME))
    return Threshold(
        rule=rule,
        video=fit_threshold(videos["label"].to_numpy(), videos["score"].to_numpy(), rule),
        frame=fit_threshold(frames["label"].to_numpy(), frames["score"].to_numpy(), rule),
        dataset=dataset,
        items=f"{len(videos)} videos, {len(frames)} frames",
    )


def run_threshold(
    run_dir: Path,
    dataset: str,
    scores: pl.DataFrame,
    aggregation: Aggregation,
    rule: ThresholdRule,
    keep: bool = True,
) -> Threshold:
    """The run's threshold: fitted now on its own dataset, or the one fitted there before.

    What is fitted now becomes the run's if `keep`.
    """
    stored = load_threshold(run_dir)
    if rule is ThresholdRule.FIXED:
        return FIXED_THRESHOLD
    if stored is not None and stored.dataset != dataset:
        return stored
    fitted = fit(scores, dataset, aggregation, rule)
    if fitted is None:
        return FIXED_THRESHOLD
    if keep:
        save(fitted, run_dir / "eval" / THRESHOLD_FILE)
    return fitted
