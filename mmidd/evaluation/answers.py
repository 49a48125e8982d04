"""A language model's verdicts: its detector's, its written one, and the regions it names."""

from __future__ import annotations

import numpy as np
import polars as pl

from mmidd.evaluation.calibration import measure_calibration
from mmidd.evaluation.localisation import means
from mmidd.evaluation.measuring import Terms, measure_scores, measure_sums
from mmidd.evaluation.metrics import Floats, ratio
from mmidd.evaluation.protocol import ThresholdRule
from mmidd.evaluation.results import FIXED_THRESHOLD, Calibration, Measures, Result
from mmidd.evaluation.tables import kinds, of_split
from mmidd.evaluation.thresholds import fit

DETECTOR, EXPLAINED, VOTED, WRITTEN = "detector", "explained", "voted", "written"
"""Verdicts beside the run's score: the detector's P(fake), P(fake) behind an explanation and its mean behind
several, and whether the written answer says fake."""

_HALF = FIXED_THRESHOLD.model_copy(update={"items": "an answer says it or not"})


def measure_verdicts(
    scores: pl.DataFrame, evidence: pl.DataFrame, dataset: str, rule: ThresholdRule, terms: Terms
) -> dict[str, tuple[Result, ...]]:
    """Results of the other verdicts, where there are such, as `measure_scores` gives them.

    A video's written score is the share of its frames whose answer says fake; an answer without a label
    does not say it.
    """
    found = {}
    for name, table in _verdicts(scores, evidence).items():
        fitted = None if name == WRITTEN else fit(table, dataset, terms.aggregation, rule)
        limit = _HALF if name == WRITTEN else fitted or FIXED_THRESHOLD
        if len(rows := of_split(table, terms.split)):
            found[name] = measure_scores(rows, terms, limit)
    return found


def calibrate_verdicts(
    scores: pl.DataFrame, evidence: pl.DataFrame, terms: Terms
) -> dict[str, tuple[Calibration, ...]]:
    """Calibration of the other verdicts that are probabilities, where there are such."""
    tables = {name: of_split(table, terms.split) for name, table in _verdicts(scores, evidence).items()}
    return {
        name: measure_calibration(rows, terms)
        for name, rows in tables.items()
        if name != WRITTEN and len(rows)
    }


def _verdicts(scores: pl.DataFrame, evidence: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Scores of each verdict in place of the run's own."""
    numbers = (DETECTOR, EXPLAINED, VOTED)
    told = scores.join(evidence.select("sample_id", "answer", "said", *numbers), on="sample_id")
    found = {name: told.filter(pl.col(name).is_not_null()).with_columns(score=name) for name in numbers}
    says_fake = (pl.col("said") == 1).fill_null(value=False).cast(pl.Float32)
    return found | {WRITTEN: told.filter(pl.col("answer").is_not_null()).with_columns(score=says_fake)}


def measure_answers(seen: pl.DataFrame, terms: Terms) -> Measures | None:
    """Of written answers: shares that are `unlabelled` or `cut`, and of those with a label the share where it
    agrees with P(yes) >= 0.5 (`agreement`).
    """  # noqa: D205
    answered = seen.filter(pl.col("answer").is_not_null())
    if answered.is_empty():
        return None
    told = answered.with_columns(
        agreement=(pl.col("said") == 1) == (pl.col("score") >= 0.5),
        unlabelled=pl.col("said").is_null(),
        cut=~pl.col("complete"),
    )
    names = ("agreement", "unlabelled", "cut")

    def statistic(sums: Floats) -> dict[str, Floats]:
        return {name: ratio(sums[:, 2 * i], sums[:, 2 * i + 1]) for i, name in enumerate(names)}

    return measure_sums("all", "all", means(told, *names), told["cluster"], statistic, terms)


def measure_regions(seen: pl.DataFrame, terms: Terms) -> tuple[Measures, ...]:
    """Regions that answers name against those that were forged, of answered forgeries where these are known.

    `precision`, `recall` and `f1` count all images together, `image_...` are means over images, in which
    nothing named counts as precision 0.
    """
    known = seen.filter(pl.col("answer").is_not_null(), pl.col("regions").list.len() > 0)
    return tuple(
        measure_sums(kind, name, _counts(rows), rows["cluster"], _statistic, terms)
        for kind, name, rows in kinds(known)
    )


def _counts(rows: pl.DataFrame) -> Floats:
    """Of each sample: regions named rightly, named, forged; precision, recall and F1; 1."""
    right, named, forged = (
        rows.select(column.list.len()).to_series().cast(pl.Float64).to_numpy()
        for column in (pl.col("named").list.set_intersection("regions"), pl.col("named"), pl.col("regions"))
    )
    own = right / np.maximum(named, 1), right / forged, 2 * right / (named + forged)
    return np.stack([right, named, forged, *own, np.ones(len(rows))], axis=1)


def _statistic(sums: Floats) -> dict[str, Floats]:
    right, named, forged, precision, recall, f1, count = sums.T
    return {
        "precision": ratio(right, named),
        "recall": ratio(right, forged),
        "f1": ratio(2 * right, named + forged),
        "image_precision": ratio(precision, count),
        "image_recall": ratio(recall, count),
        "image_f1": ratio(f1, count),
    }
