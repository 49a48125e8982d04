"""Calibration against direct computations."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from mmidd.evaluation.calibration import BINS, equal_width, measure_calibration, reliability
from mmidd.evaluation.details import details
from mmidd.evaluation.evaluate import Subject, evaluate_scores
from mmidd.evaluation.measuring import Terms
from mmidd.evaluation.protocol import Aggregation, Level
from mmidd.evaluation.results import FIXED_THRESHOLD, Calibration
from mmidd.evaluation.view import short
from mmidd.schema import SCORES, Split
from tests.evaluation.evaluation_world import SPEC

TERMS = Terms(Split.TEST, SPEC, replicates=40)


def table(labels: list[int], scores: list[float], frames: int = 1) -> pl.DataFrame:
    types = pl.DataFrame(SCORES.empty_table()).schema
    fixed = {"source": "a", "method": "m", "split": "test"}
    rows = [
        fixed | {"sample_id": f"{n:04d}", "video_id": f"{n // frames}", "label": label, "score": score}
        for n, (label, score) in enumerate(zip(labels, scores, strict=True))
    ]
    return pl.DataFrame([{name: row.get(name) for name in types} for row in rows], schema=types)


def at(level: Level, found: tuple[Calibration, ...]) -> Calibration:
    return next(one for one in found if one.level is level)


def error(labels: np.ndarray, scores: np.ndarray, inner: np.ndarray) -> float:
    """By a loop over bins; a score on an edge is of the bin above."""
    total, edges = 0.0, [-1.0, *inner, 2.0]
    for low, high in itertools.pairwise(edges):
        inside = (scores >= low) & (scores < high)
        if inside.any():
            total += inside.sum() * abs(scores[inside].mean() - labels[inside].mean())
    return total / len(scores)


SCORE = st.one_of(st.floats(0, 1, width=32), st.integers(0, 15).map(lambda k: k / 15))


THIRTY_ONE = [(int(n % 3 == 0), n / 32) for n in range(31)]
"""So many that every other score is an edge of bins of equal number."""


@settings(max_examples=60, deadline=None)
@example(THIRTY_ONE)
@given(st.lists(st.tuples(st.integers(0, 1), SCORE), min_size=1, max_size=60))
def test_errors_are_their_definitions(pairs: list[tuple[int, float]]) -> None:
    scored = table([label for label, _ in pairs], [score for _, score in pairs])
    labels, scores = scored["label"].to_numpy(), scored["score"].cast(pl.Float64).to_numpy()
    found = at(Level.FRAME, measure_calibration(scored, Terms(Split.TEST, SPEC, replicates=1)))
    metrics = {name: estimate.value for name, estimate in found.measures.metrics.items()}
    shares = np.arange(1, BINS) / BINS
    assert metrics["ece"] == pytest.approx(error(labels, scores, shares), abs=1e-9)
    quantiles = np.quantile(scores, shares)
    assert metrics["adaptive_ece"] == pytest.approx(error(labels, scores, quantiles), abs=1e-9)
    assert metrics["brier"] == pytest.approx(brier_score_loss(labels, scores, pos_label=1))
    assert sum(one.items for one in found.bins) == len(pairs)


def test_scores_that_say_what_they_mean_have_no_error() -> None:
    scores = [0.1] * 10 + [0.5] * 10 + [0.9] * 10
    labels = [1, *[0] * 9, *[1] * 5, *[0] * 5, *[1] * 9, 0]
    found = at(Level.FRAME, measure_calibration(table(labels, scores), TERMS)).measures.metrics
    assert found["ece"].value == pytest.approx(0, abs=1e-6)
    assert found["adaptive_ece"].value == pytest.approx(0, abs=1e-6)
    assert found["brier"].value == pytest.approx((20 * 0.1 * 0.9 + 10 * 0.25) / 30)


def test_bins_say_how_often_items_of_a_score_are_fake() -> None:
    scores = np.array([0, 0.03, 0.5, 0.52, 0.98, 1.0])
    bins = reliability(np.array([0, 1, 1, 0, 1, 1]), scores)
    assert len(bins) == BINS
    assert [one.items for one in bins] == [2, *[0] * 6, 2, *[0] * 6, 2]
    assert [bins[0].low, bins[0].high] == pytest.approx([0, 1 / 15])
    assert [bins[0].score, bins[0].fake] == pytest.approx([0.015, 0.5])
    assert [bins[7].score, bins[7].fake] == pytest.approx([0.51, 0.5])
    assert [bins[-1].score, bins[-1].fake, bins[-1].high] == pytest.approx([0.99, 1, 1])
    assert (bins[3].score, bins[3].fake) == (None, None)
    assert reliability(np.array([1]), equal_width()[5:6])[5].items == 1, "its lower edge is a bin's own"


def test_a_video_is_one_item_with_the_mean_of_its_frames() -> None:
    scored = table([0, 0, 1, 1], [0.1, 0.3, 0.5, 0.9], frames=2)
    videos = at(Level.VIDEO, measure_calibration(scored, TERMS))
    assert videos.measures.items == 2
    assert videos.measures.metrics["brier"].value == pytest.approx((0.2**2 + 0.3**2) / 2)
    most = at(Level.VIDEO, measure_calibration(scored, Terms(Split.TEST, SPEC, Aggregation.MAX, 5)))
    assert most.measures.metrics["brier"].value == pytest.approx((0.3**2 + 0.1**2) / 2)


def test_every_evaluation_has_a_table_of_it() -> None:
    scored = table([0, 1] * 20, np.linspace(0, 1, 40).tolist())
    subject = Subject("run", "lnclip", "world", "")
    evaluation = evaluate_scores(scored, Split.TEST, subject, SPEC, FIXED_THRESHOLD, replicates=20)
    (shown,) = details(evaluation)
    assert [row[:2] for row in shown.rows] == [("videos", "40"), ("frames", "40")]
    brier = evaluation.calibration[0].measures.metrics["brier"]
    assert shown.rows[0][-1].startswith(short(brier.value))
    assert brier.low is not None
    assert brier.value is not None
    assert brier.low < brier.value
