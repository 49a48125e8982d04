from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mmidd.evaluation import bootstrap
from mmidd.evaluation.bootstrap import clustered_bootstrap, interval
from mmidd.evaluation.metrics import Curves, Floats, auc


def _auc(curves: Curves) -> dict[str, Floats]:
    return {"auc": auc(curves)}


def _world(seed: int, clusters: int, frames: int) -> tuple[Floats, Floats, list[str]]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(clusters) % 2, frames).astype(float)
    centres = np.repeat(rng.normal(0, 1, clusters), frames)
    scores = labels + centres + rng.normal(0, 0.2, len(labels))
    return labels, scores, [f"v{index // frames:03d}" for index in range(len(labels))]


def test_equals_a_loop_over_drawn_clusters() -> None:
    labels, scores, clusters = _world(0, 12, 4)
    fast = clustered_bootstrap(labels, scores, clusters, _auc, replicates=50, seed=5)["auc"]
    rng = np.random.default_rng(5)
    names = np.unique(clusters)
    for value in fast:
        drawn = names[rng.integers(len(names), size=len(names))]
        rows = np.concatenate([np.flatnonzero(np.array(clusters) == name) for name in drawn])
        if len(set(labels[rows])) < 2:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(roc_auc_score(labels[rows], scores[rows]))


def test_result_depends_on_seed_alone_not_on_memory_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, scores, clusters = _world(1, 10, 3)
    whole = clustered_bootstrap(labels, scores, clusters, _auc, replicates=40, seed=1)["auc"]
    monkeypatch.setattr(bootstrap, "_CHUNK", 100)
    np.testing.assert_array_equal(
        clustered_bootstrap(labels, scores, clusters, _auc, replicates=40, seed=1)["auc"], whole
    )
    assert not np.array_equal(
        clustered_bootstrap(labels, scores, clusters, _auc, replicates=40, seed=2)["auc"], whole
    )


def test_frames_of_one_video_do_not_narrow_the_interval() -> None:
    labels, scores, clusters = _world(2, 40, 10)
    by_video = interval(clustered_bootstrap(labels, scores, clusters, _auc, replicates=300)["auc"])
    frames = [str(index) for index in range(len(labels))]
    by_frame = interval(clustered_bootstrap(labels, scores, frames, _auc, replicates=300)["auc"])
    assert by_video[1] - by_video[0] > 1.8 * (by_frame[1] - by_frame[0])


def test_interval_covers_the_true_auc_about_as_often_as_it_says() -> None:
    """True AUC of N(1, s) against N(0, s) with s**2 = 1.04 is Phi(1 / sqrt(2 s**2))."""
    truth = 0.7560
    covered = 0
    for seed in range(100):
        labels, scores, clusters = _world(100 + seed, 60, 2)
        low, high = interval(clustered_bootstrap(labels, scores, clusters, _auc, replicates=200)["auc"])
        covered += low <= truth <= high
    assert 86 <= covered <= 100


def test_undefined_replicates_are_left_out_of_the_interval() -> None:
    assert interval(np.array([np.nan, 0.4, 0.6, np.nan]), 0.5) == pytest.approx((0.45, 0.55))
    assert all(np.isnan(interval(np.array([np.nan, np.nan]))))
