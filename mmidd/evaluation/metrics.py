"""Detection metrics on weighted score curves.

One implementation serves the point value (one row of unit weights) and the bootstrap (one
row of weights per replicate). A metric without both classes is NaN, never 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mmidd.evaluation.protocol import ThresholdRule

Floats = NDArray[np.float64]

METRICS = ("auc", "ap", "eer", "accuracy", "balanced_accuracy", "tpr_at_1_fpr", "accuracy_at_half")
"""Names of what `measure` returns, in the order of the tables."""


@dataclass(frozen=True)
class Ranking:
    """Scores sorted once, ties grouped; weights can then be swept over it many times.

    Attributes:
        thresholds: distinct scores, descending (U,).
        order: indices that sort the items by descending score (N,).
        starts: where each distinct score begins in `order` (U,).
        fake: 1.0 for fake, 0.0 for real, sorted (N,).
    """

    thresholds: Floats
    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    fake: Floats


@dataclass(frozen=True)
class Curves:
    """Weights of fakes (`tp`) and reals (`fp`) at or above each threshold.

    Column 0 is above all scores; column k takes everything from `thresholds[k - 1]` up.
    Shapes are (B, U + 1) for B rows of weights.
    """

    tp: Floats
    fp: Floats
    thresholds: Floats

    @property
    def tpr(self) -> Floats:
        """True positive rates, NaN without fakes."""
        return ratio(self.tp, self.tp[:, -1:])

    @property
    def fpr(self) -> Floats:
        """False positive rates, NaN without reals."""
        return ratio(self.fp, self.fp[:, -1:])


def rank(labels: ArrayLike, scores: ArrayLike) -> Ranking:
    """Sort items for `sweep`.

    Args:
        labels: 0 real, 1 fake (N,), N >= 1.
        scores: P(fake) (N,), finite.
    """
    values = np.asarray(scores, np.float64)
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return Ranking(ordered[starts], order, starts, np.asarray(labels, np.float64)[order])


def sweep(ranking: Ranking, weights: Floats | None = None) -> Curves:
    """Curves of a ranking under weights (B, N) >= 0 in the items' own order; default ones (1, N)."""
    count = len(ranking.order)
    sorted_weights = np.ones((1, count)) if weights is None else weights[:, ranking.order]
    fakes = sorted_weights * ranking.fake
    return Curves(
        tp=_cumulative(fakes, ranking.starts),
        fp=_cumulative(sorted_weights - fakes, ranking.starts),
        thresholds=ranking.thresholds,
    )


def measure(curves: Curves, threshold: float) -> dict[str, Floats]:
    """Every metric of METRICS, each (B,); `threshold` is the one fitted on validation."""
    half_accuracy, _ = accuracies(curves, 0.5)
    accuracy, balanced = accuracies(curves, threshold)
    values = (
        auc(curves),
        average_precision(curves),
        eer(curves),
        accuracy,
        balanced,
        tpr_at_fpr(curves, 0.01),
        half_accuracy,
    )
    both = (curves.tp[:, -1] > 0) & (curves.fp[:, -1] > 0)
    return {name: np.where(both, value, np.nan) for name, value in zip(METRICS, values, strict=True)}


def auc(curves: Curves) -> Floats:
    """Area under the ROC curve (B,): the chance that a fake outscores a real, ties half."""
    tpr, fpr = curves.tpr, curves.fpr
    area: Floats = np.einsum("bu,bu->b", np.diff(fpr), tpr[:, 1:] + tpr[:, :-1]) / 2
    return area


def average_precision(curves: Curves) -> Floats:
    """Step-wise average precision of the fake class (B,), as scikit-learn defines it."""
    taken = curves.tp + curves.fp
    precision = np.divide(curves.tp, taken, out=np.zeros_like(taken), where=taken > 0)
    ap: Floats = np.einsum("bu,bu->b", np.diff(curves.tpr), precision[:, 1:])
    return ap


def eer(curves: Curves) -> Floats:
    """Equal error rate (B,): root of FPR = 1 - TPR on the linearly interpolated ROC curve.

    The rule of GenD (WACV 2026); DeepfakeBench takes the nearest ROC point instead.
    """
    fpr = curves.fpr
    excess = fpr + curves.tpr - 1
    rows = np.arange(len(excess))
    after = np.argmax(excess >= 0, axis=1)
    before = np.maximum(after - 1, 0)
    low, high = excess[rows, before], excess[rows, after]
    share = ratio(-low, high - low)
    rate: Floats = fpr[rows, before] + share * (fpr[rows, after] - fpr[rows, before])
    return rate


def tpr_at_fpr(curves: Curves, rate: float) -> Floats:
    """Highest true positive rate (B,) at false positive rate `rate`, on the interpolated ROC."""
    fpr, tpr = curves.fpr, curves.tpr
    rows = np.arange(len(fpr))
    before = np.sum(fpr <= rate, axis=1) - 1
    after = np.minimum(before + 1, fpr.shape[1] - 1)
    before = np.maximum(before, 0)
    step = fpr[rows, after] - fpr[rows, before]
    share = np.divide(rate - fpr[rows, before], step, out=np.zeros_like(step), where=step > 0)
    reached: Floats = tpr[rows, before] + share * (tpr[rows, after] - tpr[rows, before])
    return reached


def accuracies(curves: Curves, threshold: float) -> tuple[Floats, Floats]:
    """Accuracy and balanced accuracy (B,) when scores >= `threshold` are called fake."""
    column = int(np.sum(curves.thresholds >= threshold))
    tp, fp = curves.tp[:, column], curves.fp[:, column]
    fakes, reals = curves.tp[:, -1], curves.fp[:, -1]
    return ratio(tp + reals - fp, fakes + reals), (ratio(tp, fakes) + ratio(reals - fp, reals)) / 2


def fit_threshold(labels: ArrayLike, scores: ArrayLike, rule: ThresholdRule) -> float:
    """The decision threshold of validation scores.

    It lies midway between two neighbouring scores; among cuts that are equally good the
    one in the widest gap wins, so that a separable split is cut in the middle.

    Args:
        labels: 0 real, 1 fake (N,), both present.
        scores: P(fake) (N,) in [0, 1].
        rule: BALANCED or EER.
    """
    if rule is ThresholdRule.FIXED:
        return 0.5
    curves = sweep(rank(labels, scores))
    fpr, tpr = curves.fpr[0, 1:], curves.tpr[0, 1:]
    cost = fpr - tpr if rule is ThresholdRule.BALANCED else np.abs(fpr + tpr - 1)
    edges = np.r_[curves.thresholds, 0.0]
    gaps = edges[:-1] - edges[1:]
    best = max(np.flatnonzero(np.isclose(cost, cost.min())), key=lambda cut: gaps[cut])
    return float((edges[best] + edges[best + 1]) / 2)


def _cumulative(weights: Floats, starts: NDArray[np.intp]) -> Floats:
    curve = np.zeros((len(weights), len(starts) + 1))
    np.cumsum(np.add.reduceat(weights, starts, axis=1), axis=1, out=curve[:, 1:])
    return curve


def ratio(part: Floats, whole: Floats) -> Floats:
    """Quotients of arrays of one shape, NaN where `whole` is 0."""
    quotient: Floats = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)
    return quotient
