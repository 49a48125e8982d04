"""What can be read off features by a linear rule, and how far that rule carries to other data."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, make_scorer
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmidd.errors import UsageError
from mmidd.evaluation.bootstrap import REPLICATES
from mmidd.evaluation.measuring import measure_auc
from mmidd.evaluation.protocol import Aggregation, Level
from mmidd.evaluation.results import Estimate
from mmidd.evaluation.tables import items, with_cluster

STRENGTHS = tuple(10.0**power for power in range(-5, 2))
"""Inverse weights of the L2 penalty, C, that cross-validation chooses from."""
FOLDS = 5

_STEPS = 10_000


class LinearProbe:
    """Logistic regression on standardised features, to tell fakes from reals.

    The penalty is the one with the least log loss in cross-validation whose folds share no identity or video.

    Args:
        rows: of the training samples: see `embedding.Embedded`.
        features: of these samples (N, C).
        seed: of the folds.

    Raises:
        UsageError: one class is missing, or has too few identities or videos for two folds.
    """

    def __init__(self, rows: pl.DataFrame, features: NDArray[np.float32], seed: int = 0) -> None:
        table = with_cluster(rows)
        labels, clusters = table["label"].to_numpy(), table["cluster"].to_numpy()
        folds = StratifiedGroupKFold(_folds(table), shuffle=True, random_state=seed)
        plain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_STEPS))
        loss = make_scorer(log_loss, greater_is_better=False, response_method="predict_proba", labels=[0, 1])
        search = GridSearchCV(
            plain, {"logisticregression__C": STRENGTHS}, scoring=loss, cv=folds, error_score="raise"
        )
        self._fitted: Any = search.fit(features, labels, groups=clusters)

    @property
    def strength(self) -> float:
        """The C that was chosen."""
        return float(self._fitted.best_params_["logisticregression__C"])

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """P(fake) (N,) of features (N, C)."""
        chances: NDArray[np.float64] = self._fitted.predict_proba(features)[:, 1]
        return chances

    def video_auc(
        self, rows: pl.DataFrame, features: NDArray[np.float32], replicates: int = REPLICATES
    ) -> Estimate:
        """Area under the ROC curve of videos, by the mean of their frames, with its interval.

        Undefined where a class is missing.
        """
        scored = rows.with_columns(score=self.score(features))
        return measure_auc(items(scored, Level.VIDEO, Aggregation.MEAN), replicates)


def _folds(table: pl.DataFrame) -> int:
    found: dict[int, int] = dict(table.group_by("label").agg(pl.col("cluster").n_unique()).iter_rows())
    fewest = min(found.get(label, 0) for label in (0, 1))
    if fewest < 2:
        raise UsageError(
            "a probe learns from reals and fakes of two or more identities or videos, and the training split "
            f"has {found.get(0, 0)} of reals and {found.get(1, 0)} of fakes; ingest more"
        )
    return min(FOLDS, fewest)
