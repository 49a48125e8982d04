"""Pools for work that waits elsewhere: on a server, or on one accelerator that wants whole batches."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractAsyncContextManager
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from mmidd.engine.pool import failure, settle
from mmidd.engine.units import Outcome, Row, Unit
from mmidd.errors import DataError, MmiddError

_POLL_SECONDS = 0.5


class AsyncWork(Protocol):
    """Entered once, then called for every unit."""

    async def __aenter__(self) -> AsyncWork: ...
    async def __aexit__(self, *_: object) -> None: ...
    async def __call__(self, payload: Any, /) -> list[Row]:
        """The rows of a unit; `DataError` makes a failure row, another `MmiddError` ends the stage."""


class CoroutinePool:
    """Runs units as coroutines of one event loop, in a thread of its own.

    Args:
        work: what to do; entered and left in the loop.
        concurrency: units under way at most.
    """

    def __init__(self, work: AsyncWork, concurrency: int) -> None:
        self._work, self._concurrency = work, concurrency
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._done: SimpleQueue[tuple[Unit, list[Row] | MmiddError]] = SimpleQueue()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> CoroutinePool:
        self._thread.start()
        self._wait(_entered(self._work))
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, units: Iterable[Unit]) -> Iterator[Outcome | None]:
        """Outcomes as they finish, None at least twice a second meanwhile.

        Raises:
            MmiddError: the work cannot go on for any unit.
        """
        source, under_way, exhausted = iter(units), 0, False
        while under_way or not exhausted:
            fresh = list(islice(source, self._concurrency - under_way))
            exhausted = exhausted or len(fresh) < self._concurrency - under_way
            under_way += len(fresh)
            if fresh:
                self._loop.call_soon_threadsafe(self._start, fresh)
            for unit, rows in self._finished():
                under_way -= 1
                if isinstance(rows, MmiddError):
                    raise rows
                yield unit, settle(rows)
            yield None

    def _finished(self) -> Iterator[tuple[Unit, list[Row] | MmiddError]]:
        """What is done: waits a little for the first, takes the rest as it lies there."""
        try:
            yield self._done.get(timeout=_POLL_SECONDS)
            while True:
                yield self._done.get_nowait()
        except Empty:
            return

    def _start(self, units: list[Unit]) -> None:
        for unit in units:
            task = self._loop.create_task(self._do(unit))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _do(self, unit: Unit) -> None:
        result: list[Row] | MmiddError
        try:
            result = await self._work(unit.payload)
        except MmiddError as error:
            result = [failure(error)] if isinstance(error, DataError) else error
        except Exception as error:  # noqa: BLE001 - the boundary where any failure becomes a row
            result = [failure(error)]
        self._done.put((unit, result))

    async def _close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._work.__aexit__(None, None, None)

    def _wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


async def _entered(work: AbstractAsyncContextManager[Any] | AsyncWork) -> Any:
    return await work.__aenter__()


BatchWork = Callable[[list[Any]], list[list[Row]]]


class BatchPool:
    """Runs units in batches, in one thread per work: a model in this process, or one on every machine.

    Args:
        works: each from payloads to the rows of each, in order.
        size: units per batch.
    """

    def __init__(self, works: Sequence[BatchWork], size: int) -> None:
        self._free = list(works)
        self._size = size
        self._threads = ThreadPoolExecutor(len(self._free))

    def __enter__(self) -> BatchPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def run(self, units: Iterable[Unit]) -> Iterator[Outcome | None]:
        """Outcomes batch by batch, None at least twice a second meanwhile.

        Raises:
            MmiddError: the work cannot go on for any unit.
        """
        source = iter(units)
        waiting: dict[Future[list[list[Row]]], tuple[BatchWork, list[Unit]]] = {}
        while True:
            while self._free and (batch := list(islice(source, self._size))):
                work = self._free.pop()
                waiting[self._threads.submit(work, [unit.payload for unit in batch])] = (work, batch)
            if not waiting:
                return
            finished, _ = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in finished:
                work, batch = waiting.pop(future)
                self._free.append(work)
                for unit, rows in zip(batch, _of_batch(future, len(batch)), strict=True):
                    yield unit, settle(rows)
            yield None


def _of_batch(future: Future[list[list[Row]]], size: int) -> list[list[Row]]:
    """The rows of every unit of a batch; of a batch that raised, a failure for each."""
    try:
        return future.result()
    except MmiddError as error:
        if not isinstance(error, DataError):
            raise
        return [[failure(error)]] * size
    except Exception as error:  # noqa: BLE001 - the boundary where any failure becomes a row
        return [[failure(error)]] * size
