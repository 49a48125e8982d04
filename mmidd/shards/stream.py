"""The stream of batches that training reads: planned, filled ahead, and resumed exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar

from mmidd.errors import UsageError
from mmidd.shards.loader import Fill, Indices, Loaded, Loader
from mmidd.shards.plan import Epoch, Sampler
from mmidd.shards.sampling import Columns, Sampling

T = TypeVar("T")


class Source(Columns, Protocol):
    """Samples as each epoch sees them, as `ShardDataset`."""

    @property
    def identity(self) -> str:
        """Tells data apart: equal identities have the same samples in the same order."""

    def at(self, epoch: int) -> Source:
        """The samples of an epoch."""

    def reading(self, batches: Iterator[Indices]) -> AbstractContextManager[Callable[[Indices], None]]:
        """Entered while these batches are read; gives what is to be called with each before it is read."""


class Stream(Generic[T]):
    """A rank's batches, epoch after epoch; iterating goes on to the end of the epoch it is in.

    Batches are a function of (data, sampling, seed, batch, epoch, step) alone. The state is where the global
    stream stands, so it can be loaded on any number of ranks and workers. It counts what was taken, not what
    is filled ahead.

    Args:
        source: what is read.
        fill: makes a sample of a batch from a draw of `source`.
        sampling: what an epoch draws.
        seed: seed of the run.
        batch: samples per global batch, over all ranks.
        rank: this rank.
        world_size: number of ranks.
        workers: processes that fill batches; 0 for none beside this one.

    Raises:
        UsageError: see `Sampler`.
    """

    def __init__(
        self,
        source: Source,
        fill: Fill[T],
        sampling: Sampling,
        *,
        seed: int,
        batch: int,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
    ) -> None:
        self._source, self._sampling, self._seed, self._batch = source, sampling, seed, batch
        self._rank, self._world_size = rank, world_size
        self._loader = Loader(fill, -(-batch // world_size) + 1, workers)
        self._sampler = (first := source.at(0), Sampler(first, sampling, seed, batch))
        self._planned: tuple[int, Epoch] | None = None
        self.epoch, self.step = 0, 0

    @property
    def planned(self) -> Epoch:
        """The epoch that the stream is in."""
        if self._planned is None or self._planned[0] != self.epoch:
            self._planned = (self.epoch, self._plan())
        return self._planned[1]

    def __enter__(self) -> Stream[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self._loader.stop()

    def __iter__(self) -> Iterator[Loaded[T]]:
        """The batches that are left of the epoch; after the last one the next epoch begins."""
        rest = (samples for _, samples in self._rest())
        with self._source.at(self.epoch).reading(rest) as need:
            for loaded in self._loader.batches(self.epoch, self._announced(need)):
                self.step = loaded.step + 1
                yield loaded
        self.epoch, self.step = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, as plain numbers and text."""
        return {"epoch": self.epoch, "step": self.step, **self._setting()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another stream stood.

        Raises:
            UsageError: that stream was over other data, or drew them in another way.
        """
        ours = self._setting()
        if differing := [name for name in ours if state.get(name) != ours[name]]:
            raise UsageError(
                f"cannot go on with the stream: it had another {', '.join(differing)}; start a new run, or "
                "give what it had"
            )
        self.epoch, self.step = state["epoch"], state["step"]

    def _setting(self) -> dict[str, Any]:
        sampling = self._sampling.model_dump_json()
        return {"data": self._source.identity, "sampling": sampling, "seed": self._seed, "batch": self._batch}

    def _plan(self) -> Epoch:
        source = self._source.at(self.epoch)
        if self._sampler[0] is not source:
            self._sampler = (source, Sampler(source, self._sampling, self._seed, self._batch))
        return self._sampler[1].epoch(self.epoch)

    def _announced(self, need: Callable[[Indices], None]) -> Iterator[tuple[int, Indices]]:
        for step, samples in self._rest():
            need(samples)
            yield step, samples

    def _rest(self) -> Iterator[tuple[int, Indices]]:
        """Numbers and samples of the batches that are left."""
        plan = self.planned
        return (
            (step, plan.batch_at(step, self._rank, self._world_size)) for step in range(self.step, plan.steps)
        )
