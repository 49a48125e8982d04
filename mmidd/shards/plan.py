"""Which samples make up which batch of an epoch: exact, and known before the epoch starts.

The order of an epoch depends on (seed, epoch) alone and is cut into global batches, of which every
rank takes its share. So all ranks make the same number of steps, and a run that stopped after a
number of steps goes on there on any number of ranks and workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mmidd.errors import UsageError
from mmidd.schema import Label
from mmidd.shards.apart import keep_apart
from mmidd.shards.pairs import originals, with_partners
from mmidd.shards.sampling import Codes, Columns, Sampling, draws_of, encode, groups_and_shares

Indices = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Epoch:
    """The batches of one epoch.

    All batches are full but the last two, which share what is left equally: each has half a batch at least.

    Attributes:
        draws: (units, 1) sample indices in the order they are drawn, or (units, 2) fakes, each with a real.
        batch: units per global batch.
        clashes: units that share a batch with another of their family, which `apart` could not avoid.
    """

    draws: Indices
    batch: int
    clashes: int = 0

    @cached_property
    def cuts(self) -> NDArray[np.int64]:
        """Where the batches begin and end, in units."""
        units = len(self.draws)
        cuts = np.append(np.arange(0, units, self.batch), units)
        if len(cuts) > 2:
            cuts[-2] = (cuts[-3] + units + 1) // 2
        return cuts

    @property
    def steps(self) -> int:
        """Batches in the epoch, the same on every rank."""
        return len(self.cuts) - 1

    def batch_at(self, step: int, rank: int = 0, world_size: int = 1) -> Indices:
        """Sample indices of a rank's share of global batch `step`; shares differ by one unit at most.

        Raises:
            UsageError: the batch has fewer units than there are ranks.
        """
        units = self.draws[self.cuts[step] : self.cuts[step + 1]]
        if len(units) < world_size:
            raise UsageError(
                f"a batch of {len(units)} cannot be shared by {world_size} ranks; choose a larger batch or "
                "fewer ranks"
            )
        return np.array_split(units, world_size)[rank].ravel()


class Sampler:
    """Draws the epochs of a split.

    Every group's draws are spread over the epoch evenly, each at a random place of its own stretch: a batch
    holds every group's share to within one draw, and with equal shares every run of as many draws as there
    are groups holds one of each. A sample comes up as often as any other of its group, or once more.

    Args:
        columns: the samples' label columns.
        sampling: what to draw.
        seed: seed of the run.
        batch: samples per global batch, over all ranks.

    Raises:
        UsageError: no samples, or the sampling cannot be had from them.
    """

    def __init__(self, columns: Columns, sampling: Sampling, seed: int, batch: int) -> None:
        if not len(columns):
            raise UsageError("there are no samples to draw from; check the split, or run `mmidd shard` again")
        if sampling.pair and batch % 2:
            raise UsageError(f"sampling.pair needs an even batch, not {batch}; set batch")
        self.sampling, self.seed, self.batch = sampling, seed, batch
        self._size = len(columns)
        self._real = _label_is(columns, Label.REAL) if sampling.pair else None
        self._lead = self._leads()
        self._group, share = groups_and_shares(columns, sampling.by, self._lead)
        sizes = np.bincount(self._group, minlength=len(share))
        self._draws = draws_of(sizes, share, sampling.draws)
        self._original = None if self._real is None else originals(columns, self._real)
        self._family = _families(columns, sampling.apart)
        self._shard = encode(columns.column("shard"))[1] if sampling.window else None

    @property
    def units(self) -> int:
        """Draws in an epoch, the same in all."""
        return int(self._draws.sum())

    def epoch(self, number: int) -> Epoch:
        """The epoch with a number, counted from 0."""
        window = self._windows(number)
        leads, group = self._order(number, window)
        batch = self.batch // 2 if self.sampling.pair else self.batch
        plain = Epoch(leads[:, None], batch)
        clashes = 0
        if self._family is not None:
            stratum = group if window is None else group * (int(window.max()) + 1) + window[leads]
            generator = self._generator(number, 2)
            clashes = keep_apart(leads, plain.cuts, self._family, stratum, generator)
        if self._original is None or self._real is None:
            return Epoch(leads[:, None], batch, clashes)
        reals = with_partners(leads, self._original, self._real, window, self._generator(number, 3))
        return Epoch(np.column_stack([leads, reals]), batch, clashes)

    def _leads(self) -> Indices:
        """The samples that are drawn: all, or the fakes."""
        if self._real is None:
            return np.arange(self._size, dtype=np.int32)
        if self._real.all() or not self._real.any():
            raise UsageError("sampling.pair needs reals and fakes in the training split; ingest both")
        return np.flatnonzero(~self._real).astype(np.int32)

    def _order(self, number: int, window: Indices | None) -> tuple[Indices, Indices]:
        """The samples in the order they are drawn, and the group each is drawn for."""
        generator = self._generator(number, 0)
        if len(self._draws) == 1:
            drawn = self._cycle(self._lead, self._draws[0], window, generator)
            return drawn, np.zeros(len(drawn), dtype=np.int32)
        by_group = np.argsort(self._group, kind="stable")
        members = np.split(self._lead[by_group], np.cumsum(np.bincount(self._group))[:-1])
        cycles = [self._cycle(m, n, window, generator) for m, n in zip(members, self._draws, strict=True)]
        places = [(np.arange(n) + generator.random(n)) / n for n in self._draws]
        order = np.argsort(np.concatenate(places), kind="stable")
        group = np.repeat(np.arange(len(cycles), dtype=np.int32), self._draws)
        return np.concatenate(cycles)[order], group[order]

    @staticmethod
    def _cycle(members: Indices, length: int, window: Indices | None, rng: np.random.Generator) -> Indices:
        """So many draws of a group, by as many permutations of it as that takes, window after window."""
        rounds = -(-length // len(members))
        drawn = np.concatenate([rng.permutation(members) for _ in range(rounds)] or [members[:0]])[:length]
        return drawn if window is None else drawn[np.argsort(window[drawn], kind="stable")]

    def _windows(self, number: int) -> Indices | None:
        """Number of the window (samples,) in which each sample's shard is open; None if all are."""
        if self._shard is None or self.sampling.window is None:
            return None
        places = self._generator(number, 1).permutation(int(self._shard.max()) + 1)
        return (places // self.sampling.window).astype(np.int32)[self._shard]

    def _generator(self, number: int, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, number, stream])


def _label_is(columns: Columns, label: Label) -> NDArray[np.bool_]:
    names, codes = encode(columns.column("label"))
    wanted = names.index(label.value) if label.value in names else -1
    return np.equal(codes, wanted)


def _families(columns: Columns, apart: str | None) -> Codes | None:
    """A number for each sample that those of its family share; a sample without one is alone."""
    if apart is None:
        return None
    names, codes = encode(columns.column("video_id" if apart == "video" else "pair_id"))
    alone = codes < 0
    codes[alone] = len(names) + np.arange(np.count_nonzero(alone), dtype=np.int32)
    return codes
