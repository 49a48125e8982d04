"""The linear probe: what it learns, how its penalty is chosen, and its AUC of videos."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from mmidd.errors import UsageError
from mmidd.evaluation.probe import STRENGTHS, LinearProbe
from mmidd.evaluation.tables import with_cluster
from mmidd.schema import SCORES

WIDTH = 6


def world(seed: int, videos: int, gain: float = 1.0, frames: int = 3) -> tuple[pl.DataFrame, Any]:
    """Frames whose first feature tells fakes, and whose video moves all of them."""
    rng = np.random.default_rng(seed)
    types = pl.DataFrame(SCORES.empty_table()).drop("score").schema
    rows, values = [], []
    for video in range(videos):
        label, own = video % 2, rng.normal(size=WIDTH)
        own[0] += gain * label
        for frame in range(frames):
            row = {"sample_id": f"{video}-{frame}", "source": "a", "video_id": f"{video}", "label": label}
            rows.append({name: row.get(name) for name in types} | {"identity": f"p{video // 3}"})
            values.append(own + rng.normal(size=WIDTH) / 2)
    return pl.DataFrame(rows, schema=types), (100 * np.array(values)).astype(np.float32)


def by_hand(rows: pl.DataFrame, values: NDArray[np.float32], strength: float) -> Any:
    """Mean and deviation, then logistic regression."""
    mean, deviation = values.astype(float).mean(0), values.astype(float).std(0)
    model = LogisticRegression(C=strength, max_iter=10_000, tol=1e-8)
    model.fit((values - mean) / deviation, rows["label"])
    return lambda x: model.predict_proba((x - mean) / deviation)[:, 1]


def test_scores_are_those_of_logistic_regression_on_standardised_features() -> None:
    rows, values = world(0, 40)
    probe = LinearProbe(rows, values)
    np.testing.assert_allclose(probe.score(values), by_hand(rows, values, probe.strength)(values), atol=2e-3)


def test_the_penalty_has_the_least_loss_on_people_left_out() -> None:
    rows, values = world(1, 40, gain=1.5)
    labels, people = rows["label"].to_numpy(), with_cluster(rows)["cluster"].to_numpy()
    folds = list(StratifiedGroupKFold(5, shuffle=True, random_state=0).split(values, labels, people))
    for learned, left_out in folds:
        assert not {*people[learned]} & {*people[left_out]}
    losses = {
        strength: np.mean(
            [
                log_loss(labels[out], by_hand(rows[learned], values[learned], strength)(values[out]))
                for learned, out in folds
            ]
        )
        for strength in STRENGTHS
    }
    chosen = LinearProbe(rows, values).strength
    assert chosen == min(losses, key=lambda strength: losses[strength])
    assert min(STRENGTHS) < chosen < max(STRENGTHS)


def test_auc_is_of_videos_by_the_mean_of_their_frames() -> None:
    probe = LinearProbe(*world(0, 40))
    rows, values = world(5, 30)
    scores = probe.score(values).reshape(-1, 3).mean(axis=1)
    found = probe.video_auc(rows, values, 200)
    assert found.value == pytest.approx(roc_auc_score(rows["label"].to_numpy()[::3], scores))
    assert found.low is not None
    assert found.value is not None
    assert found.high is not None
    assert found.low < found.value < found.high


def test_one_class_has_no_auc() -> None:
    rows, values = world(5, 12)
    real = rows["label"].to_numpy() == 0
    found = LinearProbe(*world(0, 20)).video_auc(rows.filter(pl.Series(real)), values[real], 10)
    assert (found.value, found.low, found.high) == (None, None, None)


@pytest.mark.parametrize(("labels", "counts"), [((0,), "2 of reals and 0 of fakes"), ((1,), "0 of reals")])
def test_a_split_that_nothing_can_be_learned_from_is_a_line(labels: tuple[int, ...], counts: str) -> None:
    rows, values = world(0, 6)
    kept = rows["label"].is_in(labels)
    with pytest.raises(UsageError, match=counts):
        LinearProbe(rows.filter(kept), values[kept.to_numpy()])


def test_few_people_make_fewer_folds() -> None:
    probe = LinearProbe(*world(0, 6))
    assert probe.strength in STRENGTHS
