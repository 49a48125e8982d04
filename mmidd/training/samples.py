"""What training reads samples through."""

from __future__ import annotations

from typing import Protocol, Self

from mmidd.schema import Split
from mmidd.shards import samples


class Samples(samples.Samples, Protocol):
    """The samples of one split.

    `at` gives the samples as an epoch sees them, which differ only where they are drawn online.
    """

    @property
    def split(self) -> Split: ...  # noqa: D102
    def at(self, epoch: int) -> Self: ...  # noqa: D102
