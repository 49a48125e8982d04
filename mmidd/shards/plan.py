"""Which samples make up which batch of an epoch: exact, and known before the epoch starts.

The order of an epoch depends on (seed, epoch) alone and is cut into global batches, so a run
stopped after `step` batches goes on at `step`, on any world size that divides the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mmidd.errors import UsageError

Indices = NDArray[np.int64]
Balance = Literal["none", "label", "type"]


def balance_groups(rows: pl.DataFrame, balance: Balance) -> Indices:
    """Group number (samples,) of each row: its class in the column `balance`, or 0 for `none`."""
    if balance == "none":
        return np.zeros(rows.height, dtype=np.int64)
    return rows[balance].rank("dense").to_numpy().astype(np.int64) - 1


@dataclass(frozen=True, eq=False)
class EpochPlan:
    """The batches of one epoch for one rank.

    With one group the epoch is a permutation of the samples. With several, every group gives as
    many draws as the largest group has samples: the largest is seen once, a smaller one goes
    through as many permutations of itself as it takes, and every run of as many draws as
    there are groups holds one of each. No sample is ever left out.

    The last batch may be smaller than the others. If its size is no multiple of the world size,
    the first draws of the epoch fill it up: at most `world_size - 1` repeats an epoch.

    Attributes:
        groups: group number of each sample, counted from 0; see `balance_groups`.
        seed: seed of the run.
        epoch: counted from 0.
        batch: global batch size, over all ranks; a multiple of `world_size`.
        world_size: number of ranks.
        rank: this rank.

    Raises:
        UsageError: no samples, or a batch that cannot be shared equally.
    """

    groups: Indices
    seed: int
    epoch: int
    batch: int
    world_size: int = 1
    rank: int = 0

    def __post_init__(self) -> None:
        if not self.groups.size:
            raise UsageError("there are no samples to draw from; check the split, or run `mmidd shard` again")
        if self.batch < 1 or self.batch % self.world_size:
            raise UsageError(
                f"a global batch of {self.batch} cannot be shared by {self.world_size} ranks; "
                f"choose a multiple of {self.world_size}"
            )

    @cached_property
    def order(self) -> Indices:
        """Sample indices of the whole epoch, over all ranks, in the order they are drawn."""
        members = [np.flatnonzero(self.groups == group) for group in np.unique(self.groups)]
        longest = max(len(group) for group in members)
        cycles = [self._cycle(group, number, longest) for number, group in enumerate(members)]
        turns = np.stack(cycles, axis=1)
        return self._generator(len(members)).permuted(turns, axis=1).reshape(-1)

    @property
    def steps(self) -> int:
        """Batches in the epoch, the same on every rank."""
        return -(-len(self.order) // self.batch)

    @property
    def repeats(self) -> int:
        """Draws added to share the last batch equally."""
        return -len(self.order) % self.world_size

    def batch_at(self, step: int) -> Indices:
        """Sample indices of this rank's share of global batch `step`."""
        start = step * self.batch
        stop = min(start + self.batch, len(self.order) + self.repeats)
        draws = np.take(self.order, np.arange(start, stop), mode="wrap")
        return np.split(draws, self.world_size)[self.rank]

    def batches(self, start: int = 0) -> Iterator[list[int]]:
        """This rank's batches from step `start` on, as torch's `DataLoader(batch_sampler=...)` takes them."""
        for step in range(start, self.steps):
            yield self.batch_at(step).tolist()

    def _cycle(self, members: Indices, number: int, length: int) -> Indices:
        generator = self._generator(number)
        rounds = -(-length // len(members))
        return np.concatenate([generator.permutation(members) for _ in range(rounds)])[:length]

    def _generator(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.epoch, stream])
