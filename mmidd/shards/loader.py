"""Processes that fill batches: samples are decoded straight into memory that all of them share.

Nothing is pickled but what is said about a sample, and a batch's memory is used again when nobody holds it.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from queue import Empty
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mmidd.engine.signals import follow_parent
from mmidd.engine.threads import single_thread
from mmidd.errors import DataError, MmiddError
from mmidd.shards.ring import Images, Ring

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Indices = NDArray[np.int32]

_CHUNK = 16
"""Samples that a process is given at a time."""
_HELD = 2
"""Batches that the consumer may hold before it gets copies."""
_POLL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Draw:
    """A sample that a batch holds: epoch and number of the batch, index of the sample."""

    epoch: int
    step: int
    index: int


class Fill(Protocol[T_co]):
    """Makes one sample of a batch; it is pickled to every process."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a sample."""

    def __call__(self, draw: Draw, out: Images, /) -> T_co:
        """Write the sample's pixels into `out` and give what else there is to know.

        Raises:
            DataError: the sample cannot be used.
        """


@dataclass(frozen=True)
class Loaded(Generic[T]):
    """A batch: images (n, *shape), what `Fill` gave of each, and why the others are missing."""

    step: int
    images: Images
    about: list[T]
    unusable: list[DataError]


@dataclass
class _Batch(Generic[T]):
    """A batch that is being filled, in a slot of the ring."""

    step: int
    slot: int
    found: list[T | DataError | None]
    missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.missing = len(self.found)

    def put(self, first: int, found: list[T | DataError]) -> None:
        self.found[first : first + len(found)] = found
        self.missing -= len(found)


class Loader(Generic[T]):
    """Batches in order, filled ahead by other processes; a context manager, so that none is left running.

    Args:
        fill: makes a sample.
        batch: the largest number of samples in a batch.
        workers: processes; with 0 batches are filled when asked for, in this one.
        ahead: batches that are filled ahead.
    """

    def __init__(self, fill: Fill[T], batch: int, workers: int = 0, ahead: int = 2) -> None:
        self._fill, self._ahead = fill, ahead
        self._shape = (batch, *fill.shape)
        self._crew = _Crew(workers) if workers else None

    def __enter__(self) -> Loader[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the processes."""
        if self._crew:
            self._crew.stop()

    def batches(self, epoch: int, steps: Iterable[tuple[int, Indices]]) -> Iterator[Loaded[T]]:
        """The batches with these numbers and sample indices.

        Raises:
            MmiddError: a process died.
        """
        if self._crew is None:
            return (self._alone(epoch, step, indices) for step, indices in steps)
        ring = self._crew.start(self._fill, self._ahead + _HELD, self._shape)
        return self._together(self._crew, ring, epoch, iter(steps))

    def _alone(self, epoch: int, step: int, indices: Indices) -> Loaded[T]:
        images = np.empty((len(indices), *self._fill.shape), dtype=np.uint8)
        return _loaded(step, images, _filled(self._fill, epoch, step, indices, images))

    def _together(
        self, crew: _Crew, ring: Ring, epoch: int, steps: Iterator[tuple[int, Indices]]
    ) -> Iterator[Loaded[T]]:
        under_way: deque[_Batch[T]] = deque()
        try:
            while True:
                while len(under_way) < self._ahead and ring.free and (order := next(steps, None)):
                    step, indices = order
                    batch = _Batch[T](step, ring.free.pop(0), [None] * len(indices))
                    under_way.append(batch)
                    for first in range(0, len(indices), _CHUNK):
                        crew.give(batch, first, (epoch, step, indices[first : first + _CHUNK], batch.slot))
                if not under_way:
                    return
                while under_way[0].missing:
                    crew.receive()
                done = under_way.popleft()
                yield _loaded(done.step, ring.hand_out(done.slot, len(done.found)), done.found)
        finally:
            crew.forget(batch.slot for batch in under_way)


class _Crew:
    """The processes, what they were given, and the memory they fill."""

    def __init__(self, workers: int) -> None:
        self._count = workers
        self._context = multiprocessing.get_context("spawn")
        self._processes: list[Any] = []
        self._given: dict[int, tuple[_Batch[Any], int]] = {}
        self._number = 0
        self._abandoned: set[int] = set()
        self._ring: Ring | None = None

    def start(self, fill: Fill[Any], slots: int, shape: tuple[int, ...]) -> Ring:
        """The ring; processes are started the first time."""
        if self._ring is None:
            self._ring = Ring(slots, shape, _HELD)
            self._work, self._results = self._context.Queue(), self._context.Queue()
            arguments = (fill, self._ring, self._work, self._results)
            self._processes = [
                self._context.Process(target=_serve, args=arguments, daemon=True) for _ in range(self._count)
            ]
            for process in self._processes:
                process.start()
        while self._given:
            self.receive()
        self._ring.free += sorted(self._abandoned)
        self._abandoned.clear()
        return self._ring

    def give(self, batch: _Batch[Any], first: int, order: tuple[int, int, Indices, int]) -> None:
        """Hand in one chunk of a batch."""
        self._given[self._number] = (batch, first)
        self._work.put((self._number, first, *order))
        self._number += 1

    def receive(self) -> None:
        """Wait for one chunk and put it into its batch."""
        while True:
            try:
                number, found = self._results.get(timeout=_POLL_SECONDS)
                break
            except Empty:
                self._check()
        batch, first = self._given.pop(number)
        if isinstance(found, MmiddError):
            raise found
        batch.put(first, found)

    def forget(self, slots: Iterable[int]) -> None:
        """Nobody will ask for the batches in these slots; they are free when their chunks have come in."""
        self._abandoned.update(slots)

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
            process.close()
        if self._processes:
            for queue in (self._work, self._results):
                queue.close()
                queue.cancel_join_thread()
        self._processes, self._ring = [], None
        self._given.clear()
        self._abandoned.clear()

    def _check(self) -> None:
        for process in self._processes:
            if process.exitcode is not None:
                raise MmiddError(
                    f"a loader process died (exit code {process.exitcode}); if memory ran out, lower batch "
                    "or workers, then resume"
                )


def _serve(fill: Fill[Any], ring: Ring, work: Any, results: Any) -> None:
    """What a process does until it is killed."""
    follow_parent()
    single_thread()
    while True:
        number, first, epoch, step, indices, slot = work.get()
        try:
            out = ring.slots[slot, first : first + len(indices)]
            results.put((number, _filled(fill, epoch, step, indices, out)))
        except Exception as error:  # noqa: BLE001 - raised again where the batch is waited for
            known = isinstance(error, MmiddError)
            results.put((number, error if known else MmiddError(f"{type(error).__name__}: {error}")))


def _filled(fill: Fill[T], epoch: int, step: int, indices: Indices, out: Images) -> list[T | DataError]:
    """Fill samples one after the other; one that cannot be used leaves its place as it is."""
    found: list[T | DataError] = []
    for index, place in zip(indices.tolist(), out, strict=True):
        try:
            found.append(fill(Draw(epoch, step, index), place))
        except DataError as error:
            found.append(error)
    return found


def _loaded(step: int, images: Images, found: list[Any]) -> Loaded[Any]:
    usable = [place for place, item in enumerate(found) if not isinstance(item, DataError)]
    unusable = [item for item in found if isinstance(item, DataError)]
    return Loaded(step, images[usable] if unusable else images, [found[place] for place in usable], unusable)
