"""What training and evaluation read samples through, wherever these come from."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray


class Sample(Protocol):
    """One crop: key, RGB image (H, W, 3) uint8, and its manifest row with captions."""

    @property
    def key(self) -> str: ...  # noqa: D102
    @property
    def image(self) -> NDArray[np.uint8]: ...  # noqa: D102
    @property
    def row(self) -> dict[str, Any]: ...  # noqa: D102


class Samples(Protocol):
    """Random access to the samples of one split; `rows` has one row per sample, in order."""

    @property
    def rows(self) -> pl.DataFrame: ...  # noqa: D102
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Sample: ...
