"""What training reads samples through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mmidd.schema import Split
from mmidd.shards import samples
from mmidd.shards.reading import Indices


class Sample(samples.Sample, Protocol):
    """One crop; a simulated forgery has its soft mask, uint8 (H, W)."""

    @property
    def mask(self) -> NDArray[np.uint8] | None: ...  # noqa: D102


class Samples(samples.Samples, Protocol):
    """The samples of one split, as `ShardDataset`.

    `at` gives the samples as an epoch sees them, which differ only where they are drawn online; `side` is
    that of the crops in pixels. The others are those of `shards.stream.Source`.
    """

    @property
    def split(self) -> Split: ...  # noqa: D102
    @property
    def side(self) -> int: ...  # noqa: D102
    @property
    def identity(self) -> str: ...  # noqa: D102
    def at(self, epoch: int) -> Self: ...  # noqa: D102
    def __getitem__(self, index: int) -> Sample: ...
    def column(self, name: str) -> pa.ChunkedArray: ...  # noqa: D102
    def reading(  # noqa: D102
        self, batches: Iterator[Indices]
    ) -> AbstractContextManager[Callable[[Indices], None]]: ...
