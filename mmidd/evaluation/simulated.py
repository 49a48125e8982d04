"""Forgeries with masks to evaluate on, blended from the reals of a split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import polars as pl

from mmidd.errors import DataError
from mmidd.preprocess.blend.recipe import RecipeName
from mmidd.shards.dataset import ShardSample
from mmidd.training.online import OnlineSamples
from mmidd.training.samples import Samples

SEED = 0
"""Of the forgeries, so that every run is evaluated on the same ones."""


class Undrawable(DataError):
    """A real that cannot be blended."""


class DrawnPairs:
    """Every real of a split that has landmarks, with a forgery of it; fakes of the dataset are left out.

    Args:
        samples: the split.
        recipes: each pair draws one of them.

    Attributes:
        left_out: reals without a forgery so far, by reason.

    Raises:
        UsageError: no real has landmarks.
    """

    def __init__(self, samples: Samples, recipes: Sequence[RecipeName]) -> None:
        self._pairs = OnlineSamples(samples, recipes, SEED)
        self.left_out = Counter({"no_landmarks": self._pairs.left_out} if self._pairs.left_out else {})

    @property
    def rows(self) -> pl.DataFrame:
        """As `OnlineSamples.rows`."""
        return self._pairs.rows

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> ShardSample:
        """A pristine twin (even) or its forgery (odd).

        Raises:
            Undrawable: the real gives no forgery, or is damaged; it is counted.
        """
        try:
            return self._pairs[index]
        except DataError as error:
            self.left_out[error.reason] += 1 - index % 2
            raise Undrawable(error.reason, error.detail) from error
