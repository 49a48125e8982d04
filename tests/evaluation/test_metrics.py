from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    roc_auc_score,
    roc_curve,
)

from mmidd.evaluation.metrics import (
    accuracies,
    auc,
    average_precision,
    eer,
    fit_threshold,
    measure,
    rank,
    sweep,
    tpr_at_fpr,
)
from mmidd.evaluation.protocol import ThresholdRule

Y1, S1 = (0, 0, 0, 1, 1, 1, 1), (0.1, 0.4, 0.8, 0.35, 0.6, 0.7, 0.9)
Y2, S2 = (0, 0, 1, 0, 0, 1, 1), (0.1, 0.2, 0.3, 0.5, 0.6, 0.8, 0.9)
Y3 = (0, 0, 1, 0, 1, 0, 1)


@pytest.mark.parametrize(("labels", "scores", "area", "rate"), [
    (Y1, S1, 0.66667, 0.33333),
    (Y2, S2, 0.83333, 0.33333),
    (Y3, S2, 0.75, 0.33333),
])  # fmt: skip
def test_published_vectors(
    labels: tuple[int, ...], scores: tuple[float, ...], area: float, rate: float
) -> None:
    curves = sweep(rank(labels, scores))
    assert auc(curves)[0] == pytest.approx(area, abs=1e-5)
    assert eer(curves)[0] == pytest.approx(rate, abs=1e-5)


def test_published_precisions_and_accuracy() -> None:
    fake = average_precision(sweep(rank(Y1, S1)))[0]
    real = average_precision(sweep(rank(1 - np.array(Y1), 1 - np.array(S1))))[0]
    assert fake == pytest.approx(0.77083, abs=1e-5)
    assert real == pytest.approx(0.72222, abs=1e-5)
    assert (fake + real) / 2 == pytest.approx(0.74653, abs=1e-5)
    assert accuracies(sweep(rank(Y1, S1)), 0.5)[0][0] == pytest.approx(0.71429, abs=1e-5)


@pytest.mark.parametrize(("labels", "rate"), [(Y1, 1 / 3), (Y2, 0.5), (Y3, 0.25)])
def test_nearest_point_rate_of_deepfakebench_is_on_the_curve(labels: tuple[int, ...], rate: float) -> None:
    """DeepfakeBench takes the nearest ROC point: other number, same curve."""
    fpr, tpr, _ = roc_curve(labels, S1 if labels is Y1 else S2)
    nearest = np.nanargmin(np.abs(1 - tpr - fpr))
    assert fpr[nearest] == pytest.approx(rate)
    curves = sweep(rank(labels, S1 if labels is Y1 else S2))
    points = set(zip(curves.fpr[0].round(9), curves.tpr[0].round(9), strict=True))
    assert (round(fpr[nearest], 9), round(tpr[nearest], 9)) in points


@st.composite
def _scored(draw: st.DrawFn) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    size = draw(st.integers(2, 40))
    labels = draw(
        st.lists(st.integers(0, 1), min_size=size, max_size=size).filter(lambda v: 0 < sum(v) < len(v))
    )
    scores = draw(st.lists(st.integers(0, 12), min_size=size, max_size=size))
    return np.array(labels, np.int8), np.array(scores) / 12


@settings(max_examples=150, deadline=None)
@given(_scored(), st.integers(0, 12))
def test_agrees_with_scikit_learn(scored: tuple[NDArray[np.int8], NDArray[np.float64]], cut: int) -> None:
    labels, scores = scored
    threshold = (cut + 0.5) / 12
    curves = sweep(rank(labels, scores))
    called = scores >= threshold
    assert auc(curves)[0] == pytest.approx(roc_auc_score(labels, scores))
    assert average_precision(curves)[0] == pytest.approx(average_precision_score(labels, scores))
    plain, balanced = accuracies(curves, threshold)
    assert plain[0] == pytest.approx(accuracy_score(labels, called))
    assert balanced[0] == pytest.approx(balanced_accuracy_score(labels, called))
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    assert eer(curves)[0] == pytest.approx(_crossing(fpr, tpr))
    assert tpr_at_fpr(curves, 0.01)[0] == pytest.approx(np.interp(0.01, fpr, tpr))


@settings(max_examples=80, deadline=None)
@given(_scored(), st.integers(0, 2**32 - 1))
def test_integer_weights_are_repeated_items(
    scored: tuple[NDArray[np.int8], NDArray[np.float64]], seed: int
) -> None:
    labels, scores = scored
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(labels)))
    swept = measure(sweep(rank(labels, scores), weights.astype(float)), 0.4)
    for row, repeats in enumerate(weights):
        kept_labels, kept = np.repeat(labels, repeats), np.repeat(scores, repeats)
        if len(set(kept_labels)) < 2:
            assert all(np.isnan(values[row]) for values in swept.values())
            continue
        alone = measure(sweep(rank(kept_labels, kept)), 0.4)
        for name, values in swept.items():
            assert values[row] == pytest.approx(alone[name][0]), name


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_undefined_not_chance(label: int) -> None:
    values = measure(sweep(rank([label] * 3, [0.2, 0.5, 0.9])), 0.5)
    assert all(np.isnan(value[0]) for value in values.values())


def test_auc_by_counting_pairs() -> None:
    rng = np.random.default_rng(3)
    labels, scores = rng.integers(0, 2, 60), rng.integers(0, 10, 60) / 10
    wins = [(f > r) + 0.5 * (f == r) for f in scores[labels == 1] for r in scores[labels == 0]]
    assert auc(sweep(rank(labels, scores)))[0] == pytest.approx(np.mean(wins))


@pytest.mark.parametrize("rule", [ThresholdRule.BALANCED, ThresholdRule.EER])
def test_threshold_cuts_a_separable_split_in_the_middle(rule: ThresholdRule) -> None:
    assert fit_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9], rule) == pytest.approx(0.4)


def test_of_equally_good_cuts_the_widest_gap_wins() -> None:
    assert fit_threshold([0, 1, 0, 1], [0.1, 0.2, 0.5, 0.9], ThresholdRule.BALANCED) == pytest.approx(0.7)


@settings(max_examples=80, deadline=None)
@given(_scored())
def test_no_cut_beats_the_fitted_balanced_accuracy(
    scored: tuple[NDArray[np.int8], NDArray[np.float64]],
) -> None:
    labels, scores = scored
    curves = sweep(rank(labels, scores))
    fitted = accuracies(curves, fit_threshold(labels, scores, ThresholdRule.BALANCED))[1][0]
    cuts = np.r_[-0.1, np.unique(scores) + 1e-6]
    assert fitted == pytest.approx(max(balanced_accuracy_score(labels, scores >= cut) for cut in cuts))


def test_fixed_threshold_ignores_the_scores() -> None:
    assert fit_threshold(Y1, S1, ThresholdRule.FIXED) == 0.5


def _crossing(fpr: NDArray[np.float64], tpr: NDArray[np.float64]) -> float:
    """Where the segments of a ROC meet the falling diagonal, found segment by segment."""
    for (x0, y0), (x1, y1) in zip(
        zip(fpr[:-1], tpr[:-1], strict=True), zip(fpr[1:], tpr[1:], strict=True), strict=True
    ):
        if x0 + y0 <= 1 <= x1 + y1:
            return float(x0 + (x1 - x0) * (1 - x0 - y0) / (x1 + y1 - x0 - y0))
    raise AssertionError("a ROC curve ends at (1, 1)")
