"""What training reads samples through."""

from __future__ import annotations

from typing import Any, Protocol, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mmidd.schema import Split


class Sample(Protocol):
    """One crop: key, RGB image (H, W, 3) uint8, and its manifest row with captions."""

    @property
    def key(self) -> str: ...  # noqa: D102
    @property
    def image(self) -> NDArray[np.uint8]: ...  # noqa: D102
    @property
    def row(self) -> dict[str, Any]: ...  # noqa: D102


class Samples(Protocol):
    """Random access to the samples of one split; `rows` has one row per sample, in order.

    `at` gives the samples as an epoch sees them, which differ only where they are drawn online.
    """

    @property
    def split(self) -> Split: ...  # noqa: D102
    @property
    def rows(self) -> pl.DataFrame: ...  # noqa: D102
    def at(self, epoch: int) -> Self: ...  # noqa: D102
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Sample: ...
